"""What is held of a type, as a value: of each log the tips, in a trie whose hashes tell at once where two differ.

A 16-ary trie over SHA-256 of the log's id. A subtree with one log is a leaf, wherever that is; one with several is a
fork of up to 16 children, so its shape follows from the logs alone. A leaf's digest is SHA-256 over 0, the log's id,
and of each tip the number (8 bytes) and the id; a fork's is SHA-256 over 1, the bitmap of its children (2 bytes) and
their digests; nothing at all has 32 zeros. It counts logs, not records: a million records of a thousand authors are as
much as a thousand.

A `Frontier` stays as it is; `changed` makes another that shares all but the paths to what changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from covm import _native
from covm.federation.wire.limits import DIGEST_SIZE
from covm.federation.wire.sync_frames import FANOUT, Tip

EMPTY_ROOT: Final = bytes(DIGEST_SIZE)
"""The root of a frontier without logs."""

Tips = tuple[Tip, ...]
"""Sorted by number, then id."""


class Leaf:
    """One log."""

    __slots__ = ("digest", "log", "path", "tips")

    def __init__(self, log: _native.Link, tips: Tips) -> None:
        self.log = log
        self.tips = tips
        self.path = path_of(log)
        told = b"".join(tip.seq.to_bytes(8, "big") + tip.id.bytes for tip in tips)
        self.digest = hashlib.sha256(b"\0" + log.bytes + told).digest()

    @property
    def count(self) -> int:
        """Logs in it."""
        return 1

    def leaves(self) -> Iterator[Leaf]:
        """Itself."""
        yield self


class Fork:
    """Several logs."""

    __slots__ = ("children", "count", "digest")

    def __init__(self, children: tuple[Node | None, ...]) -> None:
        self.children = children
        there = [child for child in children if child is not None]
        self.count: int = sum(child.count for child in there)
        digests = b"".join(child.digest for child in there)
        self.digest: bytes = hashlib.sha256(b"\1" + self.bitmap.to_bytes(2, "big") + digests).digest()

    @property
    def bitmap(self) -> int:
        """Which children there are: the first in the highest of 16 bits."""
        return sum(1 << (FANOUT - 1 - index) for index, child in enumerate(self.children) if child is not None)

    def leaves(self) -> Iterator[Leaf]:
        """All logs in it, in the order of their paths."""
        for child in self.children:
            if child is not None:
                yield from child.leaves()


Node = Leaf | Fork


class Frontier:
    """The tips of all logs of a type."""

    __slots__ = ("_top",)

    def __init__(self, top: Node | None = None) -> None:
        self._top = top

    @classmethod
    def of(cls, tips: Mapping[_native.Link, Tips]) -> Frontier:
        """The frontier with these logs."""
        return cls(_made([Leaf(log, each) for log, each in tips.items() if each], 0))

    def changed(self, tips: Mapping[_native.Link, Tips]) -> Frontier:
        """Another, in which these logs have these tips; without any, it is not there."""
        return Frontier(_merged(self._top, [Leaf(log, each) for log, each in tips.items()], 0))

    @property
    def root(self) -> bytes:
        """Equal roots, equal frontiers."""
        return EMPTY_ROOT if self._top is None else self._top.digest

    def get(self, log: _native.Link) -> Tips:
        """A log's tips; none of one that is not there."""
        path, node, depth = path_of(log), self._top, 0
        while isinstance(node, Fork):
            node = node.children[nibble(path, depth)]
            depth += 1
        return node.tips if node is not None and node.log == log else ()

    def at(self, path: bytes) -> Node | None:
        """What is behind these nibbles: a fork, or the leaf that is there or above."""
        node = self._top
        for depth, each in enumerate(path):
            if isinstance(node, Fork):
                node = node.children[each]
            elif node is not None and nibble(node.path, depth) != each:
                return None
        return node

    def __len__(self) -> int:
        return 0 if self._top is None else self._top.count

    def logs(self) -> Iterator[tuple[_native.Link, Tips]]:
        """Every log with its tips."""
        return ((leaf.log, leaf.tips) for leaf in (self._top.leaves() if self._top is not None else ()))


def path_of(log: _native.Link) -> bytes:
    """Where a log is, in bytes of two nibbles each."""
    return hashlib.sha256(log.bytes).digest()


def nibble(path: bytes, depth: int) -> int:
    """The one at a depth."""
    byte = path[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _made(leaves: list[Leaf], depth: int) -> Node | None:
    if len(leaves) <= 1:
        return leaves[0] if leaves else None
    groups = _by_nibble(leaves, depth)
    return Fork(tuple(_made(groups[each], depth + 1) if each in groups else None for each in range(FANOUT)))


def _merged(node: Node | None, leaves: list[Leaf], depth: int) -> Node | None:
    if not isinstance(node, Fork):
        logs = {} if node is None else {node.log: node}
        logs.update((leaf.log, leaf) for leaf in leaves)
        return _made([leaf for leaf in logs.values() if leaf.tips], depth)
    children = list(node.children)
    for each, group in _by_nibble(leaves, depth).items():
        children[each] = _merged(children[each], group, depth + 1)
    there = [child for child in children if child is not None]
    if len(there) <= 1 and not any(isinstance(child, Fork) for child in there):
        return there[0] if there else None
    return Fork(tuple(children))


def _by_nibble(leaves: Iterable[Leaf], depth: int) -> dict[int, list[Leaf]]:
    groups: dict[int, list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(nibble(leaf.path, depth), []).append(leaf)
    return groups
