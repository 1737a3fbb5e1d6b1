"""Peers: who is let in, who is dialled, who counts as connected, how they are, who is banned.

Rules: `admission`, `twins`, `backoff`, `health`, `information`, `bans`, `book`. State: `record`, `roster`. Shells:
`manager` (the component), `connections` (what the network tells of them), `dialler`, `door` (joins), `heartbeat`,
`warden` (bans). `target` reads what an operator names as a peer. Called by `wiring` alone; others use `ports`.
"""
