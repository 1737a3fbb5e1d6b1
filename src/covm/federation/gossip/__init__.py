"""Gossip: messages to everyone in the federation, over one topic.

Rules: `verdicts`, `replay`, `allowance`. Values: `log`. Shell: `protocol`. Called by
`wiring` alone; others use `ports`.
"""
