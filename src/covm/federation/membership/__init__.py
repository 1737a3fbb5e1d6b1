"""Who may what, now: the shell of `identity`.

ledger     everything that is held of a membership, and what it comes to; `aside` has what waits for others (rules)
asking     one exchange with a peer, as who asks and as who answers (rules)
proposals  which of what others proposed says what this node means (rules)
invites    links that let somebody in (rules)
passes     by which who is invited is carried through a relay (rules); `passing` lets them through, at the relay
papers     files that are carried from one machine to another (rules)
founding   a charter and its founders, before there is a federation (rules)
views      what is shown of it to people (rules)
finding    who is meant by a name or the beginning of an id (rules)
undoing    what would be otherwise if a node's approvals did not count (rules)
room       which approvals give up their room to those that a cut keeps (rules)
unasked    what is shown to a node at the door that has not asked for it (rules)
tables     what is on disk, and the jobs that write and read it
journal    writes what is learned
exchange   asks connected peers for what is missing, and answers them
hearing    who knocks and is not known yet: asked, shown, let in or sent away before the gate opens
own        `Pen`: signs what this node proposes and approves
desk       what people do: look, invite, approve, remove, have erased
members    `Members`: the component, one for each node
authority  what `sync` asks: by what authors write
everyone   `Everyone`, its stand-in in `open` mode
"""
