"""Replicas converge: whatever order records arrive in, every node ends with the same heads and shows the same value.

    judging    whether a record counts              heads      which records of a key stand side by side
    intake     a batch of records, judged           plan       what is to be written for it
    held       what waits to be judged              logs       what the next record of a log has to follow
    frontier   what is held, as a value             descent    where two frontiers differ
    resolvers  what is shown of several versions    states     values that merge
    lookups    what a batch has to know of          room       what waits for the one before it

    keeper     takes batches, and keeps what they come to       scribe     writes this node's own records
    manager    what is told to whom                             session    one type, from one peer
    fetching   who is asked for what, and when
    asking     our stream to a peer                             serving    a peer's stream to us
    library    what is given to others                          leases     who fetches which log
    bodies     bodies that did not come with their records      retention  when old bodies are dropped
    collection what programs use                                reading    the queries behind it
    published  what handlers of durable types are given         taken      what became of a batch
    standings  how this node stands beside its peers            partners   peers that are admitted
    shares     how much a peer may be given                     streams    who is connected, and by which streams
    tables     the tables of records                            rows       the jobs that read them
    plan_rows  the job that writes them                         body_rows  the jobs about bodies
    forks      who wrote two records at one place               export     records as blocks of a file
    exporting  records to files, and from them                  export_rows the queries behind that
    written    where a node's logs end, and ended               announcing what is told as events
    quotas     how much a member may have here                  usage_rows the jobs that count it
    verifying  a batch ahead of the one that is taken           entries    what programs read
    erasures   obeys what founders approved to be erased
    sync_types an application's own stores                      sync_store what such a store is
    feed       gives one what has changed                       feed_rows  the jobs behind that

The first twelve, `leases`, `shares`, `quotas` and `export` are rules: no I/O.
"""
