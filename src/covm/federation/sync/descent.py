"""Where two frontiers differ, found by questions and answers: only below digests that differ. Rules: no I/O.

    asker ──probe──> answerer    the digests of my children, below these paths
          <──found──             of yours that differ: the digests of their children in turn, or the logs, if few

One log that differs among a thousand takes two questions. Each side asks for itself; what the other lacks is not its
business. Digests on the wire are the first half: nobody finds two of the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from covm.federation.sync.frontier import Fork, Frontier, Leaf, Node, nibble, path_of
from covm.federation.wire.signed import in_order
from covm.federation.wire.sync_frames import (
    DEEPEST,
    FANOUT,
    MAX_PROBES,
    MAX_TOLD,
    SHORT,
    Found,
    Inner,
    Probe,
    Told,
)

MAX_ROUNDS: Final = 10_000
"""Questions of one descent: fifty times what a hundred thousand logs that all differ take."""

MAX_PATHS: Final = 1 << 20
"""Paths that wait to be asked for: sixteen for each of a question, at every level."""


def answer(frontier: Frontier, probes: Iterable[Probe], limit_bytes: int) -> list[Found]:
    """The answers to as many probes, from the first on, as fit: one at least.

    Raises `ValueError` for probes that make no sense. They come from a peer, so nothing of them is taken for granted.
    """
    found: list[Found] = []
    asked: set[bytes] = set()
    for probe in probes:
        if len(probe.path) >= DEEPEST or any(each >= FANOUT for each in probe.path):
            raise ValueError("a path that no log can have")
        if probe.path in asked:
            raise ValueError("a path asked for twice")
        asked.add(probe.path)
        one = _found(frontier.at(probe.path), probe)
        limit_bytes -= _size(one)
        if found and limit_bytes < 0:
            break
        found.append(one)
    return found


def _found(node: Node | None, probe: Probe) -> Found:
    inner: list[Inner] = []
    told: list[Told] = []
    theirs = dict(_children(probe.bitmap, probe.digests))
    for index, child in _below(node, len(probe.path)):
        if child.digest[:SHORT] == theirs.get(index):
            continue
        if child.count <= MAX_TOLD or isinstance(child, Leaf):
            told += [Told(leaf.log, leaf.tips) for leaf in child.leaves()]
        else:
            bitmap, digests = _summary(child, 0)
            inner.append(Inner(index, bitmap, digests))
    return Found(probe.path, inner, told)


class Descent:
    """The asker's side. After a `ValueError` it is over."""

    def __init__(self, ours: Frontier) -> None:
        self._ours = ours
        self._paths = [b""]
        """The last first: so few wait, however many logs differ."""
        self._asked: dict[bytes, None] = {}
        self._rounds = 0

    def question(self) -> list[Probe] | None:
        """The next question; None at the end."""
        while self._paths and len(self._asked) < MAX_PROBES:
            self._asked[self._paths.pop()] = None
        if not self._asked or self._rounds >= MAX_ROUNDS:
            return None
        self._rounds += 1
        return [Probe(path, *_summary(self._ours.at(path), len(path))) for path in self._asked]

    def on_answer(self, found: Sequence[Found]) -> list[Told]:
        """The logs of which the other side has other tips. Raises `ValueError` for an answer that makes no sense."""
        if not found:
            raise ValueError("nothing was answered")
        differing: list[Told] = []
        for one in found:
            if one.path not in self._asked:
                raise ValueError("a path that was not asked for")
            del self._asked[one.path]
            if not in_order(one.inner, lambda inner: inner.child):
                raise ValueError("children out of order, or one of them twice")
            differing += self._told(one)
            for inner in one.inner:
                self._paths += self._below(one.path, inner)
        if len(self._paths) > MAX_PATHS:
            raise ValueError("more differences than there can be")
        return differing

    def _told(self, one: Found) -> list[Told]:
        if len({told.log for told in one.told}) < len(one.told):
            raise ValueError("a log told twice")
        children: dict[int, list[Told]] = {}
        for told in one.told:
            path = path_of(told.log)
            if any(nibble(path, depth) != each for depth, each in enumerate(one.path)):
                raise ValueError("a log that is not below its path")
            if list(told.tips) != sorted(set(told.tips), key=lambda tip: (tip.seq, tip.id.bytes)):
                raise ValueError("tips out of order")
            children.setdefault(nibble(path, len(one.path)), []).append(told)
        if not children.keys().isdisjoint(inner.child for inner in one.inner):
            raise ValueError("a child told both by its logs and by what is below it")
        return [told for child, logs in children.items() for told in self._differing(one.path + bytes([child]), logs)]

    def _differing(self, path: bytes, logs: list[Told]) -> list[Told]:
        """Those of a child's logs that have other tips here."""
        if len(logs) > MAX_TOLD:
            raise ValueError("a child with too many logs to be told at once")
        differing = [told for told in logs if self._ours.get(told.log) != told.tips]
        ours = self._ours.at(path)
        # A child is told whole, so with as many logs here, none of them another, it is the same.
        if not differing and ours is not None and ours.count == len(logs):
            raise ValueError("a child told that does not differ")
        return differing

    def _below(self, path: bytes, inner: Inner) -> list[bytes]:
        below = path + bytes([inner.child])
        # What is below has children, and they are asked for by paths that have a nibble left for theirs.
        if len(below) >= DEEPEST - 1:
            raise ValueError("deeper than a hash is long")
        theirs = list(_children(inner.bitmap, inner.digests))
        if not theirs:
            raise ValueError("a child with nothing below it")
        ours = _summary(self._ours.at(below), len(below))
        if ours == (inner.bitmap, inner.digests):
            raise ValueError("a child told that does not differ")
        here = dict(_children(*ours))
        return [below + bytes([index]) for index, digest in theirs if here.get(index) != digest]


def _below(node: Node | None, depth: int) -> Iterator[tuple[int, Node]]:
    """The children of a node at a depth, by index; a leaf counts as its own only child."""
    if isinstance(node, Fork):
        yield from ((index, child) for index, child in enumerate(node.children) if child is not None)
    elif node is not None and depth < DEEPEST:
        yield nibble(node.path, depth), node


def _summary(node: Node | None, depth: int) -> tuple[int, bytes]:
    children = list(_below(node, depth))
    bitmap = sum(1 << (FANOUT - 1 - index) for index, _ in children)
    return bitmap, b"".join(child.digest[:SHORT] for _, child in children)


def _children(bitmap: int, digests: bytes) -> Iterator[tuple[int, bytes]]:
    """The digests by index. Raises `ValueError` where there is another number of them."""
    indices = [index for index in range(FANOUT) if bitmap & (1 << (FANOUT - 1 - index))]
    if len(digests) != len(indices) * SHORT:
        raise ValueError("another number of digests than of children")
    for place, index in enumerate(indices):
        yield index, digests[place * SHORT : (place + 1) * SHORT]


def _size(found: Found) -> int:
    return (
        16 + sum(8 + len(each.digests) for each in found.inner) + sum(48 + 48 * len(each.tips) for each in found.told)
    )
