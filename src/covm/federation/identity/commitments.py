"""Commitments to keys that are not used yet (pre-rotation, as in KERI): the key stays hidden until it is needed."""

from __future__ import annotations

import hashlib


def commitment(peer_id: str) -> bytes:
    """What an identity log says of a key before it is used: SHA-256 over the key's peer id as text."""
    return hashlib.sha256(peer_id.encode()).digest()
