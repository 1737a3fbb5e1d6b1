"""Who this node is: its Ed25519 key. The core makes, reads and writes the key; nothing secret is held in Python."""

from covm.federation.identity.keys import Identity

__all__ = ["Identity"]
