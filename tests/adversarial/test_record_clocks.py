"""Records with clocks at the end of what a counter can say: they keep nobody from writing.

THREATS.md, rows *sync*.
"""

from __future__ import annotations

import pytest
from tests.adversarial.sync_peer import Scribbler, scene
from tests.unit.membership_world import NOON_MS
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import all_have, eventually, notes

from covm.federation.wire import record
from covm.federation.wire.limits import MAX_COUNTER
from covm.federation.wire.record import Hlc
from covm.testing.world import World

AHEAD_MS = 9 * 60_000
"""As far as a clock may be ahead, and a minute less."""


async def full_counters(world: World, *keys: str, counter: int) -> None:
    """Somebody has written keys, as far ahead as it may, with a counter that is full or nearly so."""
    victim, _ = world.machines
    now_ms = victim.service._node.sync._around.clock.now_ms()
    for number, key in enumerate(keys):
        mallory = Scribbler(f"mallory {number}")
        written = mallory.write(key, "mallory's", hlc=Hlc(now_ms + AHEAD_MS, counter))
        taken = await victim.service._node.sync.keeper.take([written.envelope], [mallory.bodies[written.id]])
        assert taken.placed == 1


@pytest.mark.parametrize("counter", [MAX_COUNTER, MAX_COUNTER - 1])
@virtually
async def test_a_full_counter_keeps_nobody_from_deciding_and_from_writing_on(counter: int) -> None:
    async with scene() as world:
        victim, honest = world.machines
        await full_counters(world, "put", "resolve", "delete", counter=counter)
        for _ in range(3):
            await notes(victim).put("put", "better", based_on=await notes(victim).get("put"))
        await notes(victim).resolve("resolve", "decided")
        await notes(victim).delete("delete")
        await notes(victim).put("innocent", 1)
        for key, value in (("put", "better"), ("resolve", "decided"), ("delete", None), ("innocent", 1)):
            await eventually(lambda key=key, value=value: all_have([victim, honest], key, value))  # type: ignore[misc]
        [entry] = await notes(honest).entries(["put"])
        assert [head.value for head in entry.heads] == ["better"]


def test_a_full_counter_is_carried_and_a_fuller_one_is_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Hlc(NOON_MS, MAX_COUNTER)
    assert Hlc(NOON_MS, MAX_COUNTER - 1).following == full
    assert full.following == Hlc(NOON_MS + 1, 0) > full
    with pytest.raises(ValueError, match="at hlc"):
        Scribbler("mallory").write("key", hlc=Hlc(NOON_MS, MAX_COUNTER + 1))
    monkeypatch.setattr(record, "MAX_COUNTER", MAX_COUNTER + 1)
    with pytest.raises(ValueError, match="at hlc"):
        Scribbler("mallory").write("key", hlc=full.following)
