"""Records, admissions, removals with cuts, and forks come in whatever order: the same heads and values everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.property.test_sync_intake_properties import placeable
from tests.unit.membership_world import Coop, World
from tests.unit.records_world import Author, Shelf

from covm._native import Link
from covm.federation.identity.credentials import Removal
from covm.federation.membership.aside import Item
from covm.federation.membership.authority import MembersAuthority
from covm.federation.membership.ledger import Ledger
from covm.federation.sync import reading, tables
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import Auth, Hlc, Place, SignedRecord, place_of

NOTE = "governance.note"
KEYS = ["oven", "mill"]
FOUNDERS = [Coop(f"Founder {number}") for number in range(2)]
OTHERS = [Coop(f"Cooperative {number}") for number in range(2)]


class Story:
    """Two founders and who comes and goes; all of them write, fork their logs, and are removed with any cut."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.world = World(FOUNDERS)
        self.world.know(*(coop.inception for coop in OTHERS))
        self.written: list[SignedRecord] = []
        self.bodies: dict[Link, bytes | None] = {}
        self._logs: dict[tuple[str, Link], list[SignedRecord]] = {}
        self._pens = [(coop, self.world.federation) for coop in FOUNDERS]
        for coop in OTHERS:
            self.admit(coop)
        for _ in range(chance.randint(4, 14)):
            coop = chance.choice([*FOUNDERS, *OTHERS])
            step = chance.choice([self.write] * 6 + [self.admit, self.remove, self.remove_node])
            step(chance.choice(self._pens)[0] if step == self.write else coop)

    def admit(self, coop: Coop) -> None:
        """It is let in, maybe again, and maybe nobody approves it."""
        removals = [each for each in self.world.credentials if isinstance(each.body, Removal)]
        after = [each for each in removals if self.chance.random() < 0.7]
        admission = self.world.admission(coop, after=after)
        self.world.approve(admission, *range(self.chance.choice([0, 1, 1, 1])))
        self._pens.append((coop, admission.id))

    def remove(self, coop: Coop) -> None:
        removal = self.world.removal(coop, self._cut())
        self.world.approve(removal, *range(self.chance.choice([1, 2, 2])))

    def remove_node(self, coop: Coop) -> None:
        self.world.know(coop.remove_node(coop.inception, 0, self._cut()))

    def _cut(self) -> list[Place]:
        """Some place in each of most logs, by whomever they are."""
        logs = [log for log in self._logs.values() if self.chance.random() < 0.8]
        return [place_of(self.chance.choice(log)) for log in logs]

    def write(self, coop: Coop) -> None:
        under = self.chance.choice([credential for each, credential in self._pens if each is coop])
        log = self._logs.setdefault((coop.name, under), [])
        author = Author(coop.name)
        author.key, author.incarnation = coop.node(0), Incarnation(1 + len(self._pens), under.bytes[-8:])
        if log:
            author.incarnation = log[0].body.incarnation
        after = self.chance.choice([log[-1], log[-1], *log]) if log else None
        key = self.chance.choice(KEYS)
        of_key = [each for each in self.written if each.body.key == key]
        on = self.chance.sample(of_key, min(len(of_key), self.chance.choice([0, 1, 1, 2])))
        clock: dict[str, Any] = {"hlc": Hlc(1, 0)} if self.chance.random() < 0.1 else {}
        record = author.write(
            key,
            len(self.written),
            after=after,
            on=on,
            federation=self.world.federation,
            type=NOTE,
            auth=Auth(under, coop.inception.id),
            **clock,
        )
        log.append(record)
        self.written.append(record)
        self.bodies.update(author.bodies)

    def items(self) -> list[Item]:
        return [*self.world.updates, *self.world.credentials, *self.world.records]


class Known:
    """What one node knows of members."""

    def __init__(self, world: World) -> None:
        self.peer_id = world.desks[0].node.peer_id
        self.ledger = Ledger(world.signed)

    @property
    def standing(self) -> Any:
        return self.ledger.standing


async def come_to(story: Story, batches: Sequence[tuple[bool, Sequence[Any]]], looks: Random | None) -> Any:
    """What a node comes to; `looks` says whether it judges anew at once when it hears of members."""
    known = Known(story.world)
    shelf = await Shelf(MembersAuthority(known)).open()  # type: ignore[arg-type]
    shelf.keeper.federation = story.world.federation
    for is_of_members, batch in batches:
        if is_of_members:
            known.ledger.take(batch)
            if looks is None or looks.random() < 0.5:
                await shelf.keeper.reconsider()
        else:
            await shelf.take(*batch, bodies=[story.bodies[each.id] for each in batch])
    while True:
        await shelf.keeper.reconsider()
        if not shelf.keeper.is_doubtful:
            break
    heads = await shelf.store.read(lambda tx: reading.heads(tx, NOTE, KEYS))
    values = sorted((each.record.body.key, str(each.record.id), each.value) for each in heads)
    told = await shelf.states(), shelf.keeper.logs.frontier(NOTE).root, shelf.keeper.held, await shelf.conflicts()
    await shelf.store.close()
    return told, values


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=True))
def test_heads_and_values_do_not_depend_on_the_order_in_which_records_and_members_are_heard_of(chance: Random) -> None:
    story = Story(chance)
    items, records = story.items(), list(story.written)
    chance.shuffle(items)
    if chance.random() < 0.5:
        records = placeable(records, chance)
    else:
        chance.shuffle(records)
    batches: list[tuple[bool, list[Any]]] = []
    while items or records:
        is_of_members = bool(items) and (not records or chance.random() < len(items) / (len(items) + len(records)))
        source, size = items if is_of_members else records, chance.randint(1, 5)
        batches.append((is_of_members, source[:size]))
        del source[:size]
    one = asyncio.run(come_to(story, [(True, story.items()), (False, story.written)], None))
    other = asyncio.run(come_to(story, batches, chance))
    assert one == other


def test_the_stories_are_about_something() -> None:
    """Among random stories are records that count, that wait and that are void, conflicts, and forks."""
    states, conflicts, forks = set[int](), 0, 0
    for seed in range(20):
        story = Story(Random(seed))
        told, _ = asyncio.run(come_to(story, [(True, story.items()), (False, story.written)], None))
        states |= {state for state, _ in told[0].values()}
        conflicts += len(told[3])
        forks += len({(each.body.log, each.body.seq) for each in story.written}) < len(story.written)
    assert states == {tables.HELD, tables.VALID, tables.VOID}
    assert conflicts > 5
    assert forks > 2
