"""Which records of a key are its heads: valid ones that no valid one reaches by `parents`, also through void ones.

Two heads, neither reaching the other, are concurrent: a conflict, found exactly, with no clock. Rules: no I/O.

What a record supersedes is found by a short walk, which ends at every record that counts: behind those all that is here
is superseded already. One that comes behind its children (they are held until it is there) is superseded where one of
them is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from covm import _native


class Node(NamedTuple):
    """A record as far as heads have to know it."""

    id: _native.Link
    parents: tuple[_native.Link, ...]
    counts: bool
    """Whether it is valid, and says something of the key: a put or a delete."""
    superseded: bool
    """Whether a valid record reaches it."""


def newly_superseded(parents: Iterable[_native.Link], get: Callable[[_native.Link], Node | None]) -> list[_native.Link]:
    """What a record with these parents, which counts now, supersedes, and nothing did before.

    `get` finds the nodes of the same key; where it finds none, there is nothing to supersede, or not yet.
    """
    found: dict[_native.Link, None] = {}
    pending = list(parents)
    while pending:
        node = get(pending.pop())
        if node is None or node.superseded or node.id in found:
            continue
        found[node.id] = None
        if not node.counts:
            pending += node.parents
    return list(found)


def reached_in(records: Iterable[Node]) -> set[_native.Link]:
    """What is superseded, from all records of a key and whatever their flags say: for when validity has changed."""
    known = {record.id: record for record in records}
    reached: set[_native.Link] = set()
    for record in known.values():
        pending = list(record.parents) if record.counts else []
        while pending:
            node = known.get(pending.pop())
            if node is not None and node.id not in reached:
                reached.add(node.id)
                pending += node.parents
    return reached


def heads_of(records: Iterable[Node]) -> set[_native.Link]:
    """The heads of a key, from all its records."""
    known = list(records)
    return {record.id for record in known if record.counts} - reached_in(known)
