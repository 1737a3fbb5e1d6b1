"""The one error of this folder's decoders."""

from __future__ import annotations


class Malformed(ValueError):
    """Bytes from outside that are not what they should be. `reason` says what is wrong, for logs and counters.

    It never reaches a user of the service: whoever reads from the network catches it and charges the sender.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
