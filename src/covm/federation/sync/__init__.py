"""Replicas converge: whatever order records arrive in, every node ends with the same heads and shows the same value.

    judging    whether a record counts              heads      which records of a key stand side by side
    intake     a batch of records, judged           plan       what is to be written for it
    held       what waits to be judged              logs       what the next record of a log has to follow
    frontier   what is held, as a value             descent    where two frontiers differ
    resolvers  what is shown of several versions    states     values that merge

    keeper     takes batches, and keeps what they come to       scribe     writes this node's own records
    manager    streams and sessions: who is asked, and when     session    one type, from one peer
    asking     our stream to a peer                             serving    a peer's stream to us
    library    what is given to others                          leases     who fetches which log
    collection what programs use                                reading    the queries behind it
    standings  how this node stands beside its peers            written    where a node's logs end, and ended
    tables     the tables of records                            rows       the jobs that read and write them

The first ten, and `leases`, are rules: no I/O.
"""
