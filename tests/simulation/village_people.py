"""The people of a village: members who write, founders who decide who is in, and a thief with somebody else's key."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.simulation.shared_ledger import NOTE
from tests.simulation.shared_writer import KEYS, Writer
from tests.simulation.village import BOARD, BOOKS, FOUNDERS, GUEST, MEMBER, STEADY, Village
from tests.simulation.village_ledger import VillageLedger
from tests.unit.membership_world import salt

from covm import _native
from covm.federation.errors import FederationError, NotAMember, NotAuthorized
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import (
    Auth,
    Hlc,
    RecordHeader,
    SignedRecord,
    encode_record_body,
    open_records,
    place_of,
    seal_record,
)
from covm.testing import Machine, World


class Villager(Writer):
    """A member that writes what it may, and is turned away where it may not."""

    village: Village
    _ledger: VillageLedger

    def _pick(self) -> tuple[str, str]:
        if self.machine.name in FOUNDERS and self._chance.random() < 0.15:
            return BOOKS, "books"
        return super()._pick()

    def _is_turned_away(self, error: FederationError) -> None:
        may_be = self._ledger.suspects | self.village.guests
        if not isinstance(error, NotAuthorized | NotAMember) or self.machine.name not in may_be:
            super()._is_turned_away(error)
        self.machine.note("is turned away", type(error).__name__)


@dataclass(frozen=True)
class Troubles:
    """What people do to each other, in one story."""

    removes_every_s: float
    apart: float
    """Share of removals that the removed one, and maybe one more, do not hear of for a while."""
    theft: float
    """Share of those after which somebody writes on with the old key."""
    return_: float
    """Share of those that are let in again."""
    has_guest: bool
    rivals: float
    """Share of removals on which two founders decide apart from each other, each with the logs' ends that it knows."""


def troubles_for(seed: int) -> Troubles:
    """Those of a seed."""
    chance = random.Random(f"village/{seed}")
    return Troubles(
        removes_every_s=chance.choice((4.0, 8.0)),
        apart=chance.choice((0.3, 0.8)),
        theft=chance.choice((0.0, 0.7, 1.0)),
        return_=chance.choice((0.3, 0.8)),
        has_guest=chance.random() < 0.3,
        rivals=0.5 if seed % 10 == 7 else 0.0,
    )


class Council:
    """Who removes members and lets them in again; each founder approves what the others propose."""

    def __init__(self, village: Village, troubles: Troubles, ledger: VillageLedger) -> None:
        self._village = village
        self._troubles = troubles
        self._ledger = ledger
        self._chance = village.world.chance("council")
        self._thief = Thief(village, ledger)

    async def sit(self) -> None:
        """Removes one after the other, until it is cancelled."""
        victims = [name for name in self._village.machines if name not in STEADY]
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._troubles.removes_every_s))
            victim = self._chance.choice(victims)
            if self._troubles.rivals and self._chance.random() < self._troubles.rivals:
                await self._remove_apart(victim)
                continue
            apart = self._chance.random() < self._troubles.apart
            if apart:
                self._set_apart(victim)
            await self._remove(victim)
            if self._chance.random() < self._troubles.theft:
                await self._thief.write_on(victim, self._chance)
            if apart:
                await asyncio.sleep(self._chance.uniform(0.0, 6.0))
                if self._chance.random() < self._troubles.theft:
                    await self._thief.write_on(victim, self._chance)
                self._village.world.fabric.heal()
            if self._chance.random() < self._troubles.return_:
                await asyncio.sleep(self._chance.uniform(0.0, 6.0))
                await self._let_in(victim)

    async def approve(self) -> None:
        """Whoever founded it approves each removal that it hears of."""
        while True:
            await asyncio.sleep(1.0)
            for name in FOUNDERS:
                machine = self._village[name]
                if self._village.considers_itself_in(machine):
                    await self._ask(machine, self._approve_all)

    async def _approve_all(self, machine: Machine) -> None:
        desk = machine.service.members
        for request in desk.requests():
            is_mine = desk.own() is None or request.subject == desk.own().id  # type: ignore[union-attr]
            if request.kind == "removal" and request.status == "waiting" and not is_mine:
                await desk.approve(request.id)

    def _set_apart(self, victim: str) -> None:
        others = [name for name in self._village.machines if name not in (*STEADY, victim)]
        late = self._chance.sample(others, self._chance.randint(0, len(others)))
        away = [self._village[name].peer_id for name in (victim, *late)]
        self._village.world.trace.note("council", "apart", victim, late)
        self._village.world.fabric.partition([away])

    async def _remove_apart(self, victim: str) -> None:
        one, other = STEADY
        rest = [name for name in self._village.machines if name not in STEADY]
        away = [other, *self._chance.sample(rest, self._chance.randint(0, len(rest)))]
        self._village.world.trace.note("council", "falls out over", victim, away)
        self._village.world.fabric.partition([[self._village[name].peer_id for name in away]])
        await asyncio.sleep(self._chance.uniform(0.0, 6.0))
        await self._remove(victim, one)
        await asyncio.sleep(self._chance.uniform(0.0, 6.0))
        await self._remove(victim, other)
        self._village.world.fabric.heal()

    async def _remove(self, victim: str, founder: str = "") -> None:
        machine = self._village[founder or self._chance.choice(STEADY)]
        if machine.is_up:
            self._ledger.suspects.add(victim)
            machine.note("removes", victim)
            await self._ask(machine, lambda one: one.service.members.remove(victim.title(), "a quarrel"))

    async def _let_in(self, victim: str) -> None:
        inviter, machine = self._village[self._chance.choice(STEADY)], self._village[victim]
        role = GUEST if victim in self._village.guests else self._chance.choice((MEMBER, BOARD))
        if role == BOARD and victim not in FOUNDERS:
            role = MEMBER
        if not inviter.is_up:
            return
        link = await self._ask(inviter, lambda one: one.service.members.invite(one.service.addresses, roles=[role]))
        if link is not None:
            machine.note("is invited again", role)
            machine.crash()
            machine.disk.query("INSERT OR REPLACE INTO covm_meta (key, value) VALUES ('invite', ?)", (link.encode(),))

    async def _ask(self, machine: Machine, what: Callable[[Machine], Coroutine[Any, Any, Any]]) -> Any:
        """What somebody at a machine does; None where it comes to nothing, since the machine fails too."""
        task = machine.spawn(what(machine))
        await asyncio.wait([task])
        if task.cancelled():
            return None
        if (error := task.exception()) is None:
            return task.result()
        if not isinstance(error, FederationError):
            self._ledger.complain(None, f"what people ask of {machine.name} fails: {error!r}")
        machine.note("does not", type(error).__name__, str(error))
        return None


class Thief:
    """Has a removed member's key and disk, and an accomplice whose node brings what it writes to the others."""

    def __init__(self, village: Village, ledger: VillageLedger) -> None:
        self._village = village
        self._ledger = ledger

    async def write_on(self, victim: str, chance: random.Random) -> None:
        """Writes in the victim's name, with dates from before its removal, behind its last record or an earlier one."""
        machine = self._village[victim]
        up = [each for each in self._village.world.machines if _runs(each) and each is not machine]
        log, auth = self._log_of(machine), self._auth_of(machine)
        if not up or auth is None:
            return
        accomplice = chance.choice(up)
        base = None if not log else chance.choice((log[-1], log[-1], chance.choice(log)))
        forged: list[tuple[SignedRecord, bytes]] = []
        for number in range(chance.randint(1, 3)):
            key = chance.choice(KEYS)
            known = [each for each in _records_of(accomplice) if each.body.key == key and each.body.type == NOTE]
            on = chance.sample(known, min(len(known), chance.choice((0, 1, 2))))
            forged.append(self._forged(machine, auth, base, key, on, f"stolen {number}"))
            base = forged[-1][0]
        self._ledger.suspects.add(victim)
        self._ledger.forged.update(each.id.bytes for each, _ in forged)
        accomplice.note("is given by a thief", victim, [str(each.id) for each, _ in forged])
        envelopes = [each.envelope for each in (*log, *(each for each, _ in forged))]
        bodies = [None] * len(log) + [body for _, body in forged]
        bodies[: len(log)] = _bodies_of(machine, log)
        await self._hand_over(accomplice, envelopes, bodies)

    async def _hand_over(self, accomplice: Machine, envelopes: list[bytes], bodies: list[bytes | None]) -> None:
        task = accomplice.spawn(accomplice.service._node.sync.keeper.take(envelopes, bodies))
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, FederationError):
            self._ledger.complain(None, f"what a thief hands over makes {accomplice.name} fail: {error!r}")

    def _log_of(self, machine: Machine) -> list[SignedRecord]:
        """The last of the notes' logs that the machine has written."""
        mine = [each for each in _records_of(machine) if each.author == machine.peer_id and each.body.type == NOTE]
        return [each for each in mine if each.body.log == mine[-1].body.log]

    def _auth_of(self, machine: Machine) -> Auth | None:
        if log := self._log_of(machine):
            return log[-1].body.auth
        coop = self._village.coops[machine.name]
        for each in self._village.world.machines:
            members = each.service._node.members if each.is_up else None
            if members is not None and members.standing is not None:
                admissions = members.standing.membership(coop.member).admissions
                if admissions:
                    return Auth(admissions[0], coop.inception.id)
        return None

    def _forged(
        self, machine: Machine, auth: Auth, base: SignedRecord | None, key: str, on: list[SignedRecord], value: str
    ) -> tuple[SignedRecord, bytes]:
        coop = self._village.coops[machine.name]
        clocks = [each.body.hlc for each in on] + ([base.body.hlc] if base else [])
        latest = max(clocks, default=Hlc(1_800_000_000_000, 0))
        body = encode_record_body(salt(value), value)
        parents = sorted((place_of(each) for each in on), key=lambda each: (each.log.bytes, each.seq, each.id.bytes))
        header = RecordHeader(
            federation=self._village.charter.id,
            type=NOTE,
            key=key,
            author=machine.peer_id,
            incarnation=base.body.incarnation if base else Incarnation(1, b"thieving"),
            seq=base.body.seq + 1 if base else 1,
            prev=base.id if base else None,
            parents=tuple(parents),
            auth=auth,
            hlc=Hlc(latest.time_ms, latest.counter + 1),
            op="put",
            body=_native.cid(body),
            size=len(body),
            target=None,
        )
        [record] = open_records([seal_record(coop.node, header)])
        assert not isinstance(record, Malformed)
        return record, body


def _runs(machine: Machine) -> bool:
    """Whether its node has started, and does not only begin to."""
    return machine.is_up and bool(machine.service.addresses)


def _records_of(machine: Machine) -> list[SignedRecord]:
    if not machine.disk.has("covm_records"):
        return []
    rows = machine.disk.query("SELECT envelope FROM covm_records ORDER BY number")
    return [each for each in open_records([envelope for (envelope,) in rows]) if not isinstance(each, Malformed)]


def _bodies_of(machine: Machine, records: list[SignedRecord]) -> list[bytes | None]:
    found = dict(machine.disk.query("SELECT id, body FROM covm_records"))
    return [found[each.id.bytes] for each in records]


def people(world: World, plan: Any, ledger: VillageLedger, village: Village) -> list[Villager]:
    """One on each machine."""
    found = [Villager(machine, world, plan, ledger) for machine in world.machines]
    for each in found:
        each.village = village
    return found
