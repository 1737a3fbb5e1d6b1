"""Peers: who is let in, who is dialled, who counts as connected, how they are, who is banned.

Rules: `admission`, `backoff`, `health`, `bans`, `book`, `relay_choice`. State: `record`, `roster`. Shells: `manager`
(the component), `connections` (what the network tells), `dialler`, `door` (joins), `heartbeat`, `warden` (bans),
`reach` (how this node is reached, places at relays), `detours` (peers reached through a relay alone). `target` reads
what an operator names as a peer. Called by `wiring` alone; others use `ports`.
"""
