"""Dispatch: messages to this node's handlers, and messages to one peer, acknowledged.

Rules: `lanes`, `outbox`, `inbox`, `subscriptions`. Values: `receipts`. Shells: `dispatcher` (to handlers), `direct`
(the direct protocol) with `line`, `sending` and `receiving`. Called by `wiring` alone; others use `ports`.
"""
