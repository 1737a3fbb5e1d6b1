"""Records come to the same in whatever order, and in whatever batches, they arrive: heads, verdicts, what is held."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
    batches, start = list[list[SignedRecord]](), 0
    while start < len(shuffled):
        size = sizes[len(batches) % len(sizes)]
        batches.append(shuffled[start : start + size])
        start += size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "MAX_OPEN", most_open)
        one, other = (
            asyncio.run(come_to([records], banned, 0, erased, 0)),
            asyncio.run(come_to(batches, banned, changes, erased, when)),
        )
    assert one == other
