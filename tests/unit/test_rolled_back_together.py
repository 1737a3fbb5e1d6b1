"""Old disks come back on both sides at once, of the same moment or of different ones, as snapshots or as backups."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.outbox_world import LONG, Post, post, violations, virtually

from covm.federation.events import PeerRolledBack, RolledBack


async def handled(p: Post, *payloads: int) -> None:
    for receipt in await p.send(*payloads):
        await receipt.handled(LONG)
    await asyncio.sleep(1)


@virtually
@pytest.mark.parametrize("restored", [True, False])
@pytest.mark.parametrize("older", ["ada", "ben", "neither"])
async def test_both_sides_go_back_in_time_and_nothing_new_is_mistaken_for_old(older: str, restored: bool) -> None:
    async with post() as p:
        await handled(p, 1, 2)
        disks = {"ada": p.ada.disk.snapshot(), "ben": p.ben.disk.snapshot()}
        await handled(p, 3, 4)
        for name, machine in (("ada", p.ada), ("ben", p.ben)):
            if older not in (name, "neither"):
                disks[name] = machine.disk.snapshot()
        await handled(p, 5, 6)
        await p.ada.stop()
        await p.ben.stop()
        p.ada.disk.roll_back(disks["ada"], restored=restored)
        p.ben.disk.roll_back(disks["ben"], restored=restored)
        p.events.clear()
        await p.world.start_all()
        await p.connected()
        await handled(p, 7, 8)
        assert p.received[:6] == [1, 2, 3, 4, 5, 6]
        again = [3, 4] if older == "ben" and not restored else []
        assert p.received[6:] == [*again, 7, 8]
        proofs, reports = len(p.told(RolledBack)), len(p.told(PeerRolledBack))
        if not restored:
            assert (proofs, reports) == {"ada": (1, 0), "ben": (0, 1), "neither": (0, 0)}[older]
        assert violations(p.ada) == violations(p.ben) == {}
