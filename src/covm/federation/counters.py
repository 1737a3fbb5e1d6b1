"""What a node counts: messages and bytes by type and direction, drops by reason, violations by peer."""

from __future__ import annotations

from collections import Counter

TYPES_COUNTED = 256
"""Type names that are counted by name. Peers choose names; what is beyond is summed under `(other)`."""

OTHER = "(other)"


class Traffic:
    """Messages and bytes of one direction, by type name; the number of names is bounded."""

    def __init__(self) -> None:
        self._cells: dict[str, list[int]] = {}

    def add(self, type_name: str, size_bytes: int) -> None:
        cell = self._cells.get(type_name)
        if cell is None:
            if len(self._cells) >= TYPES_COUNTED:
                type_name = OTHER
            cell = self._cells.setdefault(type_name, [0, 0])
        cell[0] += 1
        cell[1] += size_bytes

    @property
    def messages(self) -> int:
        return sum(cell[0] for cell in self._cells.values())

    @property
    def bytes(self) -> int:
        return sum(cell[1] for cell in self._cells.values())

    def by_type(self) -> dict[str, dict[str, int]]:
        return {name: {"messages": cell[0], "bytes": cell[1]} for name, cell in sorted(self._cells.items())}


class Counters:
    """A node's counters. Reasons are names that this code chooses, so their number is bounded."""

    def __init__(self) -> None:
        self.gossip_in = Traffic()
        self.gossip_out = Traffic()
        self.direct_in = Traffic()
        self.direct_out = Traffic()
        self.dropped: Counter[str] = Counter()
        self.handlers: Counter[str] = Counter()

    def drop(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] += count
