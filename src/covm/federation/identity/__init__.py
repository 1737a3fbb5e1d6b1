"""Who is who, and who may do what: rules on plain values, without I/O, clock or randomness of their own.

    keys         the node's key                            names        what may be a name
    key_file     what its file tells without a passphrase  key_folder   key files by name
    member_keys  a member's own keys, and their changes
    update       one entry of a member's identity log      consent      a node's word that it is a member's
    member       what entries make of a member             log          entries in any order, forks and all
    drafts       entries as a member makes them            commitments  hashes of keys that are not used yet
    identities   the logs of many members                  chains       what waits for what it follows
    charter      what the founders agreed on               credentials  what electors approve
    approvals    who approved what                         authors      by what a record is written
    branches     where a record stands in its log          cuts         up to where what was written counts
    roles        actions, patterns, types                  tally        approvals counted
    standing     who is a member, what may they do         verdicts     answers with reasons

What travels is sealed and opened here as values: `open_updates`, `open_charter`, `open_credentials` and the record's
`open_records` take envelopes and give what is signed, with its author; everything else takes what they gave. Keep what
came in `Identities` and `ApprovalLogs` and a list of credentials, and ask `judge` what it comes to; the answer is the
same for the same things in any order. The shell (storage, exchange, invites) is not here.
"""

from covm.federation.identity.keys import Identity

__all__ = ["Identity"]
