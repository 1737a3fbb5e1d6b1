"""Who may what, now: the shell of `identity`.

ledger     everything that is held of a membership, and what it comes to (rules)
asking     one exchange with a peer, as who asks and as who answers (rules)
tables     what is on disk, and the jobs that write and read it
founding   a charter and its founders, before there is a federation
invites    links that let somebody in
hearing    who knocks and is not known yet: asked, shown, let in or sent away before the gate opens
acts       what this node's member does: admit, remove, approve, invite
members    `Members`: the component, one for each node
everyone   `Everyone`, its stand-in in `open` mode
"""
