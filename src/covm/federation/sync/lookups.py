"""What has to be looked up before records are judged. Rules: no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from covm import _native
from covm.federation.sync.held import builds_on
from covm.federation.sync.logs import Logs
from covm.federation.sync.plan import Arrived

MAX_NAMED: Final = 2048
"""Parents of the records of one batch: each of them is looked up."""


@dataclass(slots=True)
class Lookup:
    """Records, keys in logs, and erases, as `rows.look_up` takes them; it says what comes with each."""

    ids: dict[_native.Link, None] = field(default_factory=dict)
    keys: dict[tuple[str, str], None] = field(default_factory=dict)
    """Types and keys."""
    logs: dict[_native.Link, None] = field(default_factory=dict)
    targets: dict[_native.Link, tuple[str, str] | None] = field(default_factory=dict)
    """What erases are looked for of, with its type and key where it may not be here."""
    forks: dict[_native.Link, tuple[_native.Link, _native.Link | None]] = field(default_factory=dict)
    """Records that may fork their log, with that and what they follow: all but those that go on at an end of it."""


def lookup_for(coming: Iterable[Arrived], logs: Logs) -> Lookup:
    """What there is to know of these, where the logs stand like this."""
    lookup, fresh, followed = Lookup(), set[_native.Link](), set[_native.Link | None]()
    for each in coming:
        header = each.record.body
        lookup.targets[each.record.id] = header.type, header.key  # what erases it may have come before it
        if header.target is not None:
            lookup.targets.setdefault(header.target)
            lookup.ids[header.target] = None
        lookup.keys[header.type, header.key] = None
        lookup.logs[header.log] = None
        # The second that follows an end of a log forks it: what it follows is the end no more by then.
        is_first = header.prev is None or header.prev in fresh or header.prev not in followed
        followed.add(header.prev)
        if is_first and logs.goes_on(header, fresh):
            fresh.add(each.record.id)
            lookup.ids.update((place.id, None) for place in header.parents if place.id not in fresh)
        else:
            lookup.ids[each.record.id] = None
            lookup.ids.update(dict.fromkeys(builds_on(header)))
            lookup.forks[each.record.id] = header.log, header.prev
    return lookup


def in_parts(arrived: Sequence[Arrived]) -> Iterator[list[Arrived]]:
    """In their order, so many that they name no more than is looked up at once."""
    part, left = list[Arrived](), MAX_NAMED
    for each in arrived:
        left -= len(each.record.body.parents)
        if part and left < 0:
            yield part
            part, left = [], MAX_NAMED - len(each.record.body.parents)
        part.append(each)
    yield part
