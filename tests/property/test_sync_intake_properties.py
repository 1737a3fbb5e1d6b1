"""Records come to the same in whatever order, and in whatever batches, they arrive: heads, verdicts, what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.records_world import TYPE, Anybody, Author, Shelf

from covm._native import Link, cid
from covm.federation.identity.standing import Erasure
from covm.federation.sync import judging, tables
from covm.federation.sync.erasures import Erasures
from covm.federation.wire.record import Hlc, SignedRecord

AUTHORS = [Author(name) for name in ("ash", "birch", "cedar")]
MEMBERS = [cid(b"of two of them"), cid(b"of the third")]
KEYS = ["oven", "mill"]
BODIES: dict[Link, bytes | None] = {}


@st.composite
def histories(draw: Any) -> list[SignedRecord]:
    """Records of three authors who fork their logs, lie about their parents' clocks, and write over each other.

    They erase, too: what is their own and what is not, by erases that count and others.
    """
    records: list[SignedRecord] = []
    for number in range(draw(st.integers(1, 12))):
        author = draw(st.sampled_from(AUTHORS))
        own = [each for each in records if each.author == author.key.peer_id]
        after = draw(st.sampled_from([*own[-2:], *own[:1]])) if own and draw(st.integers(0, 9)) else None
        key = draw(st.sampled_from(KEYS))
        able = [each for each in records if each.body.key == key or draw(st.integers(0, 9)) == 0]
        on = draw(st.lists(st.sampled_from(able), max_size=3, unique_by=lambda each: each.id.bytes)) if able else []
        changes: dict[str, Any] = {"hlc": Hlc(1, 0)} if draw(st.integers(0, 9)) == 0 else {}
        if records and draw(st.integers(0, 3)) == 0:
            changes |= {"op": "erase", "target": draw(st.sampled_from(records)).id}
            on = on if draw(st.integers(0, 9)) == 0 else []
        record = author.write(key, number, after=after, on=on, **changes)
        if all(record.id != each.id for each in records):
            records.append(record)
            BODIES[record.id] = author.bodies[record.id]
    return records


@st.composite
def approved(draw: Any, records: list[SignedRecord]) -> dict[Link, list[Erasure]]:
    """What founders have approved to be erased; not all of it says the truth about the record."""
    found: dict[Link, list[Erasure]] = {}
    for record in draw(st.lists(st.sampled_from(records), max_size=3, unique_by=lambda each: each.id.bytes)):
        found[record.id] = [
            Erasure(
                id=cid(f"{record.id} {number}".encode()),
                type=draw(st.sampled_from([TYPE, TYPE, "shop.note"])),
                member=draw(st.sampled_from(MEMBERS)),
                author="",
                reason="",
                approved_by=(),
            )
            for number in range(draw(st.integers(1, 3)))
        ]
    return found


def forked(chance: Random, most_open: int) -> list[SignedRecord]:
    """Versions of one key by one author, who forks the log behind any of them, and behind the forks.

    As many as may be are left open, and then all of them closed, mostly.
    """
    author, records = AUTHORS[0], list[SignedRecord]()
    length = chance.randint(4, 8)
    for number in range(length + chance.randint(1, 3)):
        is_fork = number >= length
        after = chance.choice(records[:-1]) if is_fork else records[-1] if records else None
        behind = _behind(after, records)
        closed = len(behind) if number % (most_open + 1) == most_open and not is_fork else 0
        if chance.random() < 0.2:
            closed = chance.choice([1, len(behind)])
        records.append(author.write(KEYS[0], number, after=after, on=behind[:closed]))
        BODIES[records[-1].id] = author.bodies[records[-1].id]
    return records


def _behind(last: SignedRecord | None, records: Sequence[SignedRecord]) -> list[SignedRecord]:
    by_id = {each.id: each for each in records}
    found: list[SignedRecord] = []
    while last is not None:
        found.append(last)
        last = by_id[last.body.prev] if last.body.prev is not None else None
    return found


async def come_to(
    batches: Sequence[Sequence[SignedRecord]], banned: bool, changes: int, erased: dict[Link, list[Erasure]], when: int
) -> Any:
    """What they come to in a store; in the middle and at the end it changes who may write, as often as this.

    `when` is the batch behind which it is approved what is `erased`; before it something else is, or nothing.
    """
    authority = Anybody()
    authority.owners = {author.key.peer_id: str(MEMBERS[number // 2]) for number, author in enumerate(AUTHORS)}
    authority.approved = {link: some[1:] for link, some in erased.items() if when % 2}
    outlaws = {author.key.peer_id for author in AUTHORS[1:]}
    authority.banned = outlaws if banned != bool(changes % 2) else set()
    shelf = await Shelf(authority).open()
    erasures = Erasures(shelf.keeper)
    await erasures.obey()
    for number, batch in enumerate(batches):
        await shelf.take(*batch, bodies=[BODIES[each.id] for each in batch])
        if changes and number == len(batches) // 2:
            changes -= 1
            await change(shelf, outlaws)
        if number == when:
            authority.approved = erased
            await erasures.obey()
    authority.approved = erased
    await erasures.obey()
    for _ in range(changes):
        await change(shelf, outlaws)
    assert bool(authority.banned) == banned
    told = await shelf.states(), shelf.root(), shelf.keeper.held, await shelf.conflicts(), await shelf.erased()
    void = sum(state == tables.VOID for state, _ in told[0].values())
    again = await Shelf(authority, shelf.store).reopened()
    assert shelf.keeper.logs.void.total() == again.keeper.logs.void.total() == void
    assert (again.root(), again.keeper.held) == told[1:3]
    await shelf.store.close()
    return told


async def change(shelf: Shelf, outlaws: set[str]) -> None:
    shelf.authority.banned = set() if shelf.authority.banned else outlaws
    await shelf.keeper.reconsider()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    histories(),
    st.randoms(use_true_random=False),
    st.lists(st.integers(1, 5), min_size=1, max_size=12),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([1, 2, 16]),
    st.data(),
    st.integers(0, 12),
)
def test_what_records_come_to_does_not_depend_on_the_order_of_arrival_of_them_or_of_what_is_known_of_members(
    records: list[SignedRecord],
    chance: Any,
    sizes: list[int],
    banned: bool,
    changes: int,
    most_open: int,
    data: st.DataObject,
    when: int,
) -> None:
    erased = data.draw(approved(records))
    shuffled = list(records)
    chance.shuffle(shuffled)
    assert_the_same(records, parts(shuffled, sizes), most_open, banned, changes, erased, when)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=True), st.sampled_from([2, 3]))
def test_what_a_forked_log_leaves_open_does_not_depend_on_the_order_of_arrival(chance: Random, most_open: int) -> None:
    records = forked(chance, most_open)
    coming = placeable(records, chance) if chance.random() < 0.5 else records
    sizes = [chance.randint(1, 5) for _ in range(3)]
    assert_the_same(records, parts(coming, sizes), most_open)


def placeable(records: list[SignedRecord], chance: Random) -> list[SignedRecord]:
    """Another order in which each comes behind the one before it in its log, so that none waits for a place."""
    left, found = list(records), list[SignedRecord]()
    while left:
        here = {None, *(each.id for each in found)}
        found.append(chance.choice([each for each in left if each.body.prev in here]))
        left.remove(found[-1])
    return found


def parts(shuffled: list[SignedRecord], sizes: Sequence[int]) -> list[list[SignedRecord]]:
    batches, start = list[list[SignedRecord]](), 0
    while start < len(shuffled):
        size = sizes[len(batches) % len(sizes)]
        batches.append(shuffled[start : start + size])
        start += size
    return batches


def assert_the_same(
    records: list[SignedRecord],
    batches: list[list[SignedRecord]],
    most_open: int,
    banned: bool = False,
    changes: int = 0,
    erased: dict[Link, list[Erasure]] | None = None,
    when: int = 0,
) -> None:
    erased = erased or {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MAX_OPEN", most_open)
        one, other = (
            asyncio.run(come_to([records], banned, 0, erased, 0)),
            asyncio.run(come_to(batches, banned, changes, erased, when)),
        )
    assert one == other
