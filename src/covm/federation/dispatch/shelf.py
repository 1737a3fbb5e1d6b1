"""Messages whose types nobody handles yet: kept for a time, and up to a number. A rule: no I/O, no clock.

A program that starts late, or is mended, finds them. Lanes whose messages were pending when the node started lie here
too, until somebody handles their types.
"""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.dispatch.inbox import UNHANDLED_MAX_BYTES, UNHANDLED_MAX_MESSAGES, Holdings
from covm.federation.dispatch.lanes import Lane


@dataclass(slots=True)
class Shelved:
    """One lane's messages. `is_pending`: some of them are not marked as unhandled in the store."""

    last_id: int
    messages: int = 0
    size_bytes: int = 0
    is_pending: bool = False


class Shelf:
    """What lies there, by lane; only what is marked as unhandled counts."""

    def __init__(self, max_messages: int = UNHANDLED_MAX_MESSAGES, max_bytes: int = UNHANDLED_MAX_BYTES) -> None:
        self._lanes: dict[Lane, Shelved] = {}
        self._holdings = Holdings(max_messages, max_bytes)

    @property
    def messages(self) -> int:
        return self._holdings.messages

    @property
    def size_bytes(self) -> int:
        return self._holdings.size_bytes

    def takes(self, sender: str, messages: int, size_bytes: int) -> bool:
        """Whether there is room for so much more of a sender."""
        return self._holdings.takes(sender, messages, size_bytes)

    def put(self, lane: Lane, last_id: int, size_bytes: int, messages: int = 1) -> None:
        """Messages lie here, the last of them under this id."""
        shelved = self._lanes.setdefault(lane, Shelved(last_id))
        shelved.last_id = max(shelved.last_id, last_id)
        shelved.messages += messages
        shelved.size_bytes += size_bytes
        self._holdings.add(lane[0], size_bytes, messages)

    def park(self, lane: Lane, last_id: int) -> None:
        """Pending messages of a lane lie in the store, and nobody handles their type."""
        shelved = self._lanes.setdefault(lane, Shelved(last_id))
        shelved.last_id = max(shelved.last_id, last_id)
        shelved.is_pending = True

    def refused(self, lane: Lane, size_bytes: int, messages: int = 1) -> None:
        """Messages of a lane left by being refused."""
        shelved = self._lanes.get(lane)
        if shelved is None:
            return
        shelved.messages -= messages
        shelved.size_bytes -= size_bytes
        self._holdings.remove(lane[0], size_bytes, messages)
        if shelved.messages <= 0 and not shelved.is_pending:
            del self._lanes[lane]

    def take(self, type_name: str) -> dict[Lane, Shelved]:
        """Somebody handles the type now: takes its lanes out."""
        taken = {lane: shelved for lane, shelved in self._lanes.items() if lane[1] == type_name}
        for lane, shelved in taken.items():
            del self._lanes[lane]
            self._holdings.remove(lane[0], shelved.size_bytes, shelved.messages)
        return taken

    def marked(self, lane: Lane, messages: int, size_bytes: int) -> None:
        """A parked lane's messages are marked in the store now."""
        if (shelved := self._lanes.get(lane)) is not None:
            shelved.is_pending = False
            self.put(lane, shelved.last_id, size_bytes, messages)
            self.refused(lane, 0, 0)

    def lanes(self) -> dict[Lane, Shelved]:
        """What lies here, for a look through it."""
        return dict(self._lanes)
