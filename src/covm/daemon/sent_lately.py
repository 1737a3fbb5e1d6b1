"""Receipts of what commands sent lately.

A receipt knows what the receiver has said before that is on our own disk, where the outbox is read. While it is held
here, whoever asks next is told no less than who asked before.
"""

from __future__ import annotations

from covm.federation import Receipt

MOST = 1024
"""Receipts that are held: more than people send in the moment between the receiver's word and our disk."""


class SentLately:
    """The latest receipts, by message id."""

    def __init__(self) -> None:
        self._receipts: dict[str, Receipt] = {}

    def hold(self, receipt: Receipt) -> None:
        """Keeps the receipt for a while."""
        self._receipts.pop(receipt.id, None)
        self._receipts[receipt.id] = receipt
        while len(self._receipts) > MOST:
            del self._receipts[next(iter(self._receipts))]

    def get(self, message_id: str) -> Receipt | None:
        """The receipt of a message, if it is still held."""
        return self._receipts.get(message_id)
