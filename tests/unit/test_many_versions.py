"""More versions of a key than one record can name: whoever decides closes all of them all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.adversarial.sync_peer import Scribbler, scene
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import agree, eventually, notes, value_of

from covm.federation.sync.collection import Collection
from covm.federation.sync.entries import Entry, Version
from covm.federation.wire.limits import MAX_PARENTS
from covm.testing.world import World

DECISIONS: dict[str, Callable[[Collection[Any], Entry[Any]], Awaitable[Version[Any]]]] = {
    "resolve": lambda notes, entry: notes.resolve("proposal", "decided"),
    "put": lambda notes, entry: notes.put("proposal", "decided", based_on=entry),
    "delete": lambda notes, entry: notes.delete("proposal"),
}
MANY = 3 * MAX_PARENTS


async def written_by_many(world: World) -> None:
    """As many write at once, none of whom knows of the others; one wrote several, and so did this node."""
    victim, _ = world.machines
    crowd = [Scribbler(f"scribbler {number}") for number in range(MANY)]
    records = [each.write("proposal", each.name) for each in crowd]
    bodies = [each.bodies[record.id] for each, record in zip(crowd, records, strict=True)]
    base = None
    for number in range(16):
        written = await notes(victim).put("proposal", number, based_on=base)
        if base is None:
            base = await notes(victim).get("proposal")
            assert base is not None
            await notes(victim).put("proposal", "another window", based_on=base)
        assert written.state == "valid"
    await victim.service._node.sync.keeper.take([each.envelope for each in records], bodies)


@pytest.mark.parametrize("decision", DECISIONS)
@virtually
async def test_a_key_with_hundreds_of_versions_is_decided_at_once_and_everywhere(decision: str) -> None:
    async with scene() as world:
        await written_by_many(world)
        victim, honest = world.machines
        entry = await notes(victim).get("proposal")
        assert entry is not None
        assert len(entry.heads) > MANY
        decided = await DECISIONS[decision](notes(victim), entry)
        assert decided.state == "valid"
        expected = None if decision == "delete" else "decided"

        async def is_decided() -> bool:
            return agree(victim, honest) and await value_of(honest, "proposal") == expected

        await eventually(is_decided)
        for machine in world.machines:
            assert await notes(machine).conflicts() == []
            [shown] = await notes(machine).entries(["proposal"])
            assert [head.id for head in shown.heads] == [decided.id]
            told = [each for each in await notes(machine).history("proposal") if each.value == "decided"]
            assert len(told) == (decision != "delete"), "the value is said once, so that it can be erased"
            assert all(each.state == "valid" for each in await notes(machine).history("proposal"))
