"""Peers: who is let in, who is dialled, who counts as connected, how they are, who is banned.

Rules: `admission`, `trimming` (who has a place), `backoff`, `health`, `bans`, `book`, `dial_order`, `clocks`,
`network_change`. State: `record`, `roster`; `book_journal` keeps the book in the store, in `tables`. Shells: `manager`
(the component), `connections` (what the network tells of them), `dialler` (one try, and the operator's), `seeker` (whom
it dials by itself), `door` (joins), `heartbeat`, `connection_check` (after a network change), `warden` (bans). `target`
reads what an operator names as a peer. Called by `wiring` alone; others use `ports`.
"""
