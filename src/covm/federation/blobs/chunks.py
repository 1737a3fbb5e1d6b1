"""Content as a tree of chunks, each named by the hash of its bytes. Rules: no I/O.

    level 2                    node
                        ┌────────┴───────┐
    level 1           node             node          up to 1,024 links each
                   ┌────┼────┐        ┌──┴──┐
    level 0      leaf leaf leaf     leaf   leaf      256 KiB each, the last one what is left

A leaf is the content's own bytes, its id a CIDv1 (raw, sha2-256). A node is DAG-CBOR, `{links, size}`: the ids of its
children in order and the bytes of content under it; its id is a CIDv1 (dag-cbor, sha2-256). Content of one leaf is
that leaf, empty content the empty leaf. So the shape follows from the size, one content has one root, and each chunk
is verified when it comes, by the link that led to it. (As UnixFS does, with one shape instead of several.)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from covm import _native
from covm.federation.wire.malformed import Malformed

LEAF_BYTES: Final = 256 * 1024
"""Bytes of a leaf: four of them fill a stream's buffer, and a wrong one is found before much was fetched in vain."""

FANOUT: Final = 1024
"""Links of a node: with 41 bytes each a node is smaller than a leaf, and covers 256 MiB."""

MAX_SIZE: Final = 2**53
"""Bytes of the largest content, nine petabytes: beyond all disks, and exact in every language's numbers."""

_RAW_SHA256: Final = b"\x01\x55\x12\x20"
"""CIDv1, raw, sha2-256 of 32 bytes."""


class WrongChunk(Malformed):
    """Other bytes than the link names: whoever handed them over is to blame."""


class Place(NamedTuple):
    """Where in a tree a chunk is: leaves are level 0, counted from the beginning of the content."""

    level: int
    position: int


class Node(NamedTuple):
    """An inner node as a value: where it is and its bytes."""

    place: Place
    body: bytes


@dataclass(frozen=True)
class Shape:
    """The tree of content of one size."""

    size: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks on each level, the leaves first; the last is 1."""
        counts = [max(1, -(-self.size // LEAF_BYTES))]
        while counts[-1] > 1:
            counts.append(-(-counts[-1] // FANOUT))
        return tuple(counts)

    @property
    def root(self) -> Place:
        return Place(len(self.counts) - 1, 0)

    def has(self, place: Place) -> bool:
        """Whether there is a chunk at this place."""
        counts = self.counts
        return 0 <= place.level < len(counts) and 0 <= place.position < counts[place.level]

    def children(self, place: Place) -> int:
        """Links of the node at this place."""
        return min(FANOUT, self.counts[place.level - 1] - place.position * FANOUT)

    def span(self, place: Place) -> int:
        """Bytes of content under a place."""
        width: int = LEAF_BYTES * FANOUT**place.level
        return min(width, self.size - place.position * width)


def leaf_link(data: bytes | memoryview) -> _native.Link:
    """The id of a leaf."""
    return _native.Link(_RAW_SHA256 + hashlib.sha256(data).digest())


def checked_leaf(data: bytes, shape: Shape, position: int, link: _native.Link) -> bytes:
    """The leaf. Raises `WrongChunk`; `Malformed` when the link itself names a leaf that is not of this shape."""
    if leaf_link(data) != link:
        raise WrongChunk("the leaf is not the one that was asked for")
    if len(data) != shape.span(Place(0, position)):
        raise Malformed("the leaf is not of the size that follows from the whole")
    return data


def checked_node(data: bytes, shape: Shape, place: Place, link: _native.Link) -> list[_native.Link]:
    """The links of a node. Raises `WrongChunk`; `Malformed` when the link itself names a node not of this shape."""
    if _native.cid(data) != link:
        raise WrongChunk("the node is not the one that was asked for")
    return links_in(data, shape, place)


def links_in(data: bytes, shape: Shape, place: Place) -> list[_native.Link]:
    """The links of a node that nothing names. Raises `Malformed` for one that is not of this shape."""
    try:
        node: Any = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(f"the node does not decode: {error}") from None
    links = node.get("links") if type(node) is dict else None
    if type(links) is not list or not all(type(link) is _native.Link for link in links):
        raise Malformed("the node has no list of links")
    if len(links) != shape.children(place) or node.get("size") != shape.span(place):
        raise Malformed("the node is not of the shape that follows from the size")
    return links


class TreeBuilder:
    """Builds a tree from leaves in order. What it holds is one node's links for each level."""

    def __init__(self) -> None:
        self._open: list[list[tuple[_native.Link, int]]] = [[]]
        self._closed = [0]

    def add(self, link: _native.Link, size_bytes: int) -> list[Node]:
        """Takes the next leaf; returns the nodes that are complete with it."""
        return self._put(0, link, size_bytes)

    def finish(self) -> tuple[_native.Link, list[Node]]:
        """The root, and the nodes that were not complete. At least one leaf was added."""
        nodes: list[Node] = []
        level = 0
        while not (level == len(self._open) - 1 and len(self._open[level]) == 1):
            if self._open[level]:
                nodes += self._close(level)
            level += 1
        return self._open[level][0][0], nodes

    def _put(self, level: int, link: _native.Link, span: int) -> list[Node]:
        if level == len(self._open):
            self._open.append([])
            self._closed.append(0)
        self._open[level].append((link, span))
        return self._close(level) if len(self._open[level]) == FANOUT else []

    def _close(self, level: int) -> list[Node]:
        children, self._open[level] = self._open[level], []
        span = sum(size for _, size in children)
        body = _native.encode({"links": [link for link, _ in children], "size": span})
        node = Node(Place(level + 1, self._closed[level]), body)
        self._closed[level] += 1
        return [node, *self._put(level + 1, _native.cid(body), span)]


def leaf_of(data: bytes, position: int) -> bytes:
    """A leaf of content that is in memory."""
    return data[position * LEAF_BYTES : (position + 1) * LEAF_BYTES]


def tree_of(data: bytes) -> tuple[_native.Link, dict[Place, bytes]]:
    """The root of content that is in memory, and its nodes."""
    builder = TreeBuilder()
    nodes: list[Node] = []
    for position in range(Shape(len(data)).counts[0]):
        leaf = leaf_of(data, position)
        nodes += builder.add(leaf_link(leaf), len(leaf))
    root, rest = builder.finish()
    return root, {node.place: node.body for node in [*nodes, *rest]}
