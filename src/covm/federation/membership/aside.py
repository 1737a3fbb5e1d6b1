"""Items of a membership that belong nowhere yet, by the one thing that each waits for next. Rules: no I/O."""

from __future__ import annotations

from typing import Final

from covm import _native
from covm.federation.identity.credentials import SignedCredential
from covm.federation.identity.update import SignedUpdate
from covm.federation.wire.limits import DIGEST_SIZE
from covm.federation.wire.record import SignedRecord

Item = SignedUpdate | SignedCredential | SignedRecord

Awaited = _native.Link | str
"""What an item waits for: an id of what comes before it, of the member that it is about; a node; a word of its own."""

MAX_ASIDE: Final = 32_768
"""Items that wait: in an exchange what a membership of a thousand consists of comes in any order."""

MAX_ASIDE_BYTES: Final = 32 * 1024 * 1024
"""Bytes of their envelopes."""


def item_id(item: Item) -> bytes:
    """The 32 bytes of hash in an item's CID."""
    return item.id.bytes[-DIGEST_SIZE:]


class Aside:
    """A bounded room. Who shows junk pushes out the oldest, which is asked for again."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, tuple[Item, Awaited]] = {}
        self._for: dict[Awaited, dict[bytes, Item]] = {}
        self._size_bytes = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: bytes, item: Item, awaited: Awaited) -> None:
        """Lets an item wait, and the oldest go where there is no room."""
        self._waiting[key] = (item, awaited)
        self._for.setdefault(awaited, {})[key] = item
        self._size_bytes += len(item.envelope)
        while len(self._waiting) > MAX_ASIDE or self._size_bytes > MAX_ASIDE_BYTES:
            self._remove(next(iter(self._waiting)))

    def released(self, awaited: Awaited) -> list[Item]:
        """Takes out what has waited for this."""
        keys = list(self._for.get(awaited, ()))
        return [self._remove(key) for key in keys]

    def named(self, link: str) -> list[Item]:
        """Takes out the item with this id, whatever it waits for."""
        try:
            key = _native.Link(link).bytes[-DIGEST_SIZE:]
        except ValueError:
            return []
        return [self._remove(key)] if key in self._waiting else []

    def _remove(self, key: bytes) -> Item:
        item, awaited = self._waiting.pop(key)
        self._size_bytes -= len(item.envelope)
        waiting = self._for[awaited]
        del waiting[key]
        if not waiting:
            del self._for[awaited]
        return item
