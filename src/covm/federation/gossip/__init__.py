"""Gossip: messages to everyone in the federation, over one topic.

Rules: `verdicts`, `replay`, `allowance`. Values: `log`. Shells: `protocol`; `journal` and `numbers`, which outlive
restarts (`tables`); `announced`, for large messages. Called by `wiring` alone; others use `ports`.
"""
