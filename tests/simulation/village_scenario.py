"""A story of shared data among members: some are removed while they write, some come back, and one key is stolen.

In the end all who are members hold the same, and of what a removed one wrote exactly that counts which its cut keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.simulation.plan import NAMES, Plan
from tests.simulation.scenario import Faults, Told, watched_log
from tests.simulation.shared_ledger import stored, stored_notes
from tests.simulation.shared_scenario import SharedStory, shared_plan
from tests.simulation.village import BOOKS, Deed, Village
from tests.simulation.village_ledger import VillageLedger
from tests.simulation.village_people import Council, Troubles, people, troubles_for

from covm.federation.config import ConnectionRetry
from covm.federation.sync import tables
from covm.testing import Machine, World, run_in_virtual_time


def village_plan(seed: int) -> Plan:
    """The plan of a seed: the faults of a story of shared data, on as many machines as it takes to decide something."""
    names = (*NAMES, "eve")[: 4 + seed // 9 % 2]
    return replace(shared_plan(seed), names=names)


def tell_village(seed: int, lines: Callable[[str], object] | None = None) -> Told:
    """Runs the story of a seed; the same seed tells the same story."""
    return run_in_virtual_time(_story(seed, village_plan(seed), troubles_for(seed), lines))


async def _story(seed: int, plan: Plan, troubles: Troubles, lines: Callable[[str], object] | None) -> Told:
    deed = Deed.of(seed, plan.names)
    config = {
        # Who was removed knocks on, and each time is shown why it is not let in.
        "connection_retry": ConnectionRetry(base_delay=timedelta(milliseconds=500), max_delay=timedelta(seconds=10)),
        "membership": "members",
        "federation": str(deed.charter.id),
    }
    ledger = VillageLedger()
    async with World(seed=seed, names=plan.names, config=config, faults=plan.links, lines=lines) as world:
        guests = [plan.names[-1]] if troubles.has_guest else []
        village = ledger.village = Village(world, deed, guests)
        ledger.machines = world.machines
        with watched_log(Faults(ledger, world)):
            await VillageStory(world, plan, ledger, village, Council(village, troubles, ledger)).run()
        records = stored(world.machines[0].disk).values()
        return Told(
            seed=seed,
            kind=plan.kind,
            trace=world.trace.hash,
            steps=world.loop.steps,
            took_s=world.loop.time(),
            ends={
                "acknowledged": len(ledger.written),
                "records": len(records),
                "void": sum(each.state == tables.VOID for each in records),
                "forged": len(ledger.forged),
                "out in the end": len(world.machines) - len(village.insiders()),
                "rolled back": sum(ledger.rolled_back.values()),
            },
            broken=tuple(dict.fromkeys(ledger.broken)),
        )


class VillageStory(SharedStory):
    """Whoever is in when everything has come to rest has to hold the same."""

    quiet_s = 15.0
    settles_s = 12.0  # whoever was invited again knocks at least as often
    counts_traffic = False  # people interrupt each other, also where nothing else goes wrong

    def __init__(self, world: World, plan: Plan, ledger: VillageLedger, village: Village, council: Council) -> None:
        super().__init__(world, plan, ledger, people(world, plan, ledger, village))
        self._village = village
        self._council = council

    async def begin(self) -> None:
        await self._village.gather()

    def others(self) -> list[Coroutine[Any, Any, None]]:
        return [self._council.sit(), self._council.approve()]

    def compared(self) -> Sequence[Machine]:
        return self._village.insiders()

    def is_at_rest(self) -> bool:
        if not super().is_at_rest():
            return False
        machines = self._village.insiders()
        states = [{link: each.state for link, each in stored_notes(machine).items()} for machine in machines]
        books = [stored(each.disk).keys() for each in machines if each.service._node.sync._may_read(BOOKS)]
        is_judged = not any(machine.service._node.sync.keeper.is_doubtful for machine in machines)
        same = all(each == states[0] for each in states) and all(each == books[0] for each in books)
        return same and is_judged and self._village.agree(*(machine.name for machine in machines))
