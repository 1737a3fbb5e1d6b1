"""Blobs: content of any size between peers, in verified chunks: files, and publications above 64 KiB.

Rules: `chunks` (the tree), `names`. Values: `offer`, `transfer`, `tables`. Shells: `protocol` (which stream belongs to
whom) with `reach`, `fetching` and `serving`; `outgoing` with `source`; `incoming` with `download` and `partial`;
`contents`; `ledger`. Called by `wiring` alone; others use `ports`.
"""
