"""The application on each node: people who read, edit, delete, resolve and erase entries of a few shared keys."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.simulation.plan import Plan
from tests.simulation.shared_ledger import NOTE, SharedLedger, stored
from tests.simulation.traffic import watch

from covm import _native
from covm.federation import FederationService
from covm.federation.errors import AccessError, FederationError, InvalidMessage, NotStarted, StoreError, UnknownEntry
from covm.federation.sync import tables
from covm.federation.sync.collection import Collection
from covm.federation.sync.entries import Entry, Version
from covm.testing import Machine, World

KEYS = ("mill", "oven", "plan", "shelf")
REGRETS = 0.1
"""How often somebody erases what it has written."""

LARGE = 0.05
"""How often a value does not travel beside its record."""

FILLING = " and so on" * 7_000


class Writer:
    """What runs on one machine, through all its lives. `base` outlives them, as a form that somebody left open."""

    def __init__(self, machine: Machine, world: World, plan: Plan, ledger: SharedLedger) -> None:
        self.machine = machine
        self._plan = plan
        self._ledger = ledger
        self._chance = world.chance(f"writer/{machine.name}")
        self._regrets = world.chance(f"regrets/{machine.name}")
        self._sizes = world.chance(f"sizes/{machine.name}")
        self._base: dict[str, Entry[Any]] = {}
        self._count = 0
        self._followed: tuple[int, set[tuple[str, str]]] = (0, set())
        self._rollbacks = 0
        machine.application = self.begin

    def begin(self, machine: Machine, service: FederationService) -> None:
        """A new life: changes are followed on."""
        if machine.disk.rollbacks != self._rollbacks:
            self._rollbacks, self._followed = machine.disk.rollbacks, (0, set())
        watch(service._node.sync, machine.name, self._ledger)
        self._do(self._follow(service))
        self._do(self._watch(service))

    async def live(self) -> None:
        """Writes until it is cancelled."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._plan.sends_every_s))
            if self.machine.is_up:
                burst = self._chance.randint(1, self._plan.most_in_a_burst)
                for _ in range(burst):
                    self._do(self._write(self.machine.service))
                if self._regrets.random() < REGRETS:
                    self._do(self._erase(self.machine.service))

    def unseen(self) -> int:
        """Records that are judged here and of which those who follow changes never heard what they came to."""
        judged = [each for each in stored(self.machine.disk).values() if each.type == NOTE and each.state > tables.HELD]
        states = {tables.VALID: "valid", tables.VOID: "void"}
        return sum((str(_native.Link(each.id)), states[each.state]) not in self._followed[1] for each in judged)

    # --- inside

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self.machine.spawn(work).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, NotStarted):
            self._ledger.complain(None, f"{self.machine.name} fails: {error!r}")

    async def _write(self, service: FederationService) -> None:
        type_name, key = self._pick()
        notes: Collection[Any] = service.collection(type_name)
        deed = self._chance.random()
        self._count += 1
        value = f"{self.machine.name} {self._count}" + (FILLING if self._sizes.random() < LARGE else "")
        try:
            if deed < 0.2:
                if (entry := await notes.get(key)) is not None:
                    self._base[key] = entry
                    self.machine.note("reads", key, _short(entry.value), len(entry.heads))
                return
            if deed < 0.5:
                version = await notes.put(key, value, based_on=await notes.get(key))
            elif deed < 0.65:
                version = await notes.put(key, value, based_on=self._base.get(key))
            elif deed < 0.8:
                version = await notes.put(key, value)
            elif deed < 0.9:
                version = await notes.resolve(key, value)
            else:
                version = await notes.delete(key)
        except (StoreError, UnknownEntry, InvalidMessage, NotStarted) as error:
            self.machine.note("does not write", key, type(error).__name__, str(error))
            # A form from before the machine went back in time names what is not here any more.
            self._base.pop(key, None)
        except FederationError as error:
            self._is_turned_away(error)
        except Exception as error:  # noqa: BLE001 - a bug of a node is what is looked for
            self._ledger.complain(None, f"{self.machine.name} fails as it writes: {error!r}")
        else:
            self._take_down(version)

    async def _erase(self, service: FederationService) -> None:
        """One of its own versions, current or replaced."""
        notes: Collection[Any] = service.collection(NOTE)
        try:
            history = await notes.history(self._regrets.choice(KEYS))
            own = [each for each in history if each.author == self.machine.peer_id and each.op == "put"]
            if own:
                self._take_down(await notes.erase(self._regrets.choice(own), "it was a mistake"))
        except (StoreError, UnknownEntry, NotStarted) as error:
            self.machine.note("does not erase", type(error).__name__, str(error))
        except AccessError as error:
            self._is_turned_away(error)
        except Exception as error:  # noqa: BLE001 - a bug of a node is what is looked for
            self._ledger.complain(None, f"{self.machine.name} fails as it erases: {error!r}")

    def _pick(self) -> tuple[str, str]:
        """Of which type, and under which key, the next one is."""
        return NOTE, self._chance.choice(KEYS)

    def _is_turned_away(self, error: FederationError) -> None:
        self._ledger.complain(None, f"{self.machine.name} may not write: {error!r}")

    def _take_down(self, version: Version[Any]) -> None:
        self.machine.note("writes", version.key, version.op, _short(version.value), version.state)
        self._ledger.acknowledge(self.machine.name, _native.Link(version.id).bytes)

    async def _follow(self, service: FederationService) -> None:
        while True:
            try:
                async for change in service.collection(NOTE).changes(after=self._followed[0]):
                    cursor, seen = self._followed
                    if change.cursor <= cursor:
                        self._ledger.complain(None, f"{self.machine.name} follows changes back in time")
                    seen.add((change.version.id, change.version.state))
                    self._followed = (change.cursor, seen)
            except (StoreError, NotStarted) as error:
                self.machine.note("does not follow", type(error).__name__)
            await asyncio.sleep(1.0)

    async def _watch(self, service: FederationService) -> None:
        async for event in service.events():
            if type(event).__name__ == "NodeFailed":
                self._ledger.complain(None, f"the node on {self.machine.name} failed: {event}")


def _short(value: Any) -> Any:
    """As much of a value as tells it from all others."""
    return value.removesuffix(FILLING) if isinstance(value, str) else value
