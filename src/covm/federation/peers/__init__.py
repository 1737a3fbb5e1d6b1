"""Peers: who is let in, who is dialled, who counts as connected, how they are, who is banned.

Rules: `admission`, `twins`, `trimming` (who has a place), `backoff`, `health`, `clocks`,
`network_change`, `bans`, `book`, `dial_order`, `hints`, `relay_choice`. State: `record`, `roster`; `book_journal` keeps
the book in the store, in `tables`. Shells: `manager` (the component), `connections` (what the network tells of them),
`dialler` (one try, and the operator's), `seeker` (whom it dials by itself), `door` (joins), `exchange` (what peers tell
of peers), `heartbeat`, `connection_check` (after a network change), `warden` (bans), `reach` (how this node is reached,
places at relays), `detours` (peers reached through a relay alone). `target` reads what an operator names as a peer.
Called by `wiring` alone; others use `ports`.
"""
