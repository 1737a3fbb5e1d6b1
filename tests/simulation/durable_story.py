"""A story of durable types: three nodes publish to each other; they crash, disks lie, and records stop counting.

Now and then one draws its plan anew, which is large and replaces the one before. In the end each handler was given each
record, also what was replaced: a transactional one once, a plain one again only where it was told so.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec

from covm.federation import FederationService, Message
from covm.federation.dispatch.transaction import Tx
from covm.federation.errors import FederationError
from covm.federation.identity.authors import Written
from covm.federation.identity.verdicts import void
from covm.federation.membership.authority import EveryonesAuthority
from covm.federation.network.simulated import LinkFaults
from covm.federation.wire.message_type import message_type
from covm.testing.disk import DiskFaults
from covm.testing.loop import run_in_virtual_time
from covm.testing.machine import Crashed, Machine
from covm.testing.world import World

NAMES = ("mill", "farm", "shop")
LASTS_S = 30.0

PLANS = 0.1
"""How often what is published is a plan."""

DRAWING = "x" * 70_000
"""It does not travel beside its record."""


@message_type("notes.news", durable=True, key="about")
class News(msgspec.Struct, frozen=True):
    """What everybody is to hear."""

    about: str
    text: str
    drawing: str = ""


class Wavering:
    """An authority to which now and then what somebody else has written does not count. It outlives its node."""

    def __init__(self, machine: Machine) -> None:
        self.banned: str | None = None
        self._machine = machine
        self._everyone: EveryonesAuthority | None = None

    def begin(self, service: FederationService) -> None:
        self._everyone = EveryonesAuthority(service.federation_id.cid)
        service._node.sync.keeper.authority = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._everyone, name)

    def basis(self, _type_name: str, first: Any) -> bytes:
        return b"no" if first.author == self.banned else b"yes"

    def written(self, record: Any, *others: Any) -> Any:
        assert self._everyone is not None
        written = self._everyone.written(record, *others)
        return written if record.author != self.banned else Written(verdict=void("it may not"), seq=written.seq)


class Villager:
    """The program on one machine, through all lives of its node."""

    def __init__(self, machine: Machine, chance: random.Random, draws: random.Random) -> None:
        self.machine = machine
        self.wavering = Wavering(machine)
        self.published: list[str] = []
        """What was acknowledged."""
        self.handed: Counter[str] = Counter()
        self.handled: set[str] = set()
        self.late: Counter[str] = Counter()
        """What a handler was handed that began at the end."""
        self.broken: list[str] = []
        self.fails = True
        self._chance = chance
        self._draws = draws
        self._count = 0
        machine.application = self.begin

    def begin(self, machine: Machine, service: FederationService) -> None:
        self.wavering.begin(service)
        service.subscribe(News, self._read, name="reader")
        self.task = machine.spawn(self._open(service))

    async def _open(self, service: FederationService) -> None:
        def make(tx: Tx) -> None:
            tx.execute("CREATE TABLE IF NOT EXISTS told (text TEXT)")
            tx.execute("CREATE TABLE IF NOT EXISTS said (text TEXT)")

        while True:
            await asyncio.sleep(0.1)
            try:
                await service.transaction(make)
            except FederationError:
                continue
            break
        service.subscribe(News, self._keep, name="ledger", transactional=True)

    async def live(self) -> None:
        """Publishes until it is cancelled."""
        while True:
            await asyncio.sleep(self._chance.expovariate(2))
            if self.machine.is_up:
                for _ in range(self._chance.choice((1, 1, 5))):
                    self.task = self.machine.spawn(self._say(self.machine.service))

    async def waver(self) -> None:
        """Changes its mind until it is cancelled."""
        others = [None, *(name for name in _peers(self.machine) if name != self.machine.peer_id)]
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 4))
            self.wavering.banned = self._chance.choice(others)
            await self.reconsider()

    async def hear_late(self) -> None:
        """Begins another handler while something does not count that did before, and will again."""
        self.wavering.banned = self._chance.choice(_peers(self.machine)[1:])
        await self.reconsider()
        await asyncio.sleep(5)
        self.machine.service.subscribe(News, lambda message: self.late.update([message.payload.text]), name="late")
        await asyncio.sleep(5)
        self.wavering.banned = None
        await self.reconsider()

    async def reconsider(self) -> None:
        if self.machine.is_up and self.machine.service._node.is_running:
            self.machine.service._node.sync._doubt.set()

    # --- inside

    async def _say(self, service: FederationService) -> None:
        self._count += 1
        text = f"{self.machine.name} {self._count}{' asks' if self._chance.random() < 0.1 else ''}"
        news = News(text, text)
        if self._draws.random() < PLANS:
            news = News(_plan_of(self.machine), text, DRAWING)
        try:
            if self._chance.random() < 0.5:
                await service.publish(news)
            else:
                await service.transaction(lambda tx: _say_in(tx, news))
        except FederationError:
            return
        self.published.append(text)

    def _read(self, message: Message[News]) -> None:
        text = message.payload.text
        if self.handed[text] and message.attempt == 1:
            self.broken.append(f"{self.machine.name} is given {text} again and not told so")
        self.handed[text] += 1
        if self.fails and self._chance.random() < 0.1:
            raise RuntimeError(text)
        self.handled.add(text)

    def _keep(self, message: Message[News], tx: Tx) -> None:
        text = message.payload.text
        tx.execute("INSERT INTO told VALUES (:text)", {"text": text})
        if text.endswith(" asks"):
            answer = f"{self.machine.name} answers {text[:-5]}"
            _say_in(tx, News(answer, answer))
        if self.fails and self._chance.random() < 0.02:
            raise RuntimeError(text)


def _say_in(tx: Tx, news: News) -> None:
    tx.execute("INSERT INTO said VALUES (:text)", {"text": news.text})
    tx.publish("notes.news", news)


def _plan_of(machine: Machine) -> str:
    return f"the plan of {machine.name}"


def _peers(machine: Machine) -> list[str]:
    return [machine.peer_id, *(peer.peer_id for peer in machine.service.peers())] if machine.is_up else []


def tell(seed: int) -> list[str]:
    """What was broken in the story of a seed; nothing, if all went well."""
    return run_in_virtual_time(_story(seed))


async def _story(seed: int) -> list[str]:
    chance = random.Random(f"durable/{seed}")
    links = LinkFaults(latency=timedelta(milliseconds=20), jitter=timedelta(milliseconds=20), loss=0.02)
    async with World(seed=seed, names=NAMES, types=[News], faults=links) as world:
        villagers = [Villager(each, *_chances(world, each.name)) for each in world.machines]
        await world.start_all()
        await asyncio.sleep(2)
        for machine in world.machines:
            machine.disk.faults = DiskFaults(errors=0.02, doubts=0.5, torn=chance.choice((0.0, 0.01)), slowest_s=0.02)
        tasks = [asyncio.ensure_future(work) for each in villagers for work in (each.live(), each.waver())]
        tasks += [asyncio.ensure_future(_strike(machine, chance)) for machine in world.machines]
        await asyncio.sleep(LASTS_S)
        await _end(tasks)
        for each in villagers:
            each.fails, each.wavering.banned, each.machine.disk.faults = False, None, DiskFaults()
        for machine in world.machines:
            if not machine.is_up:
                await machine.start()
        await asyncio.sleep(10)
        for each in villagers:
            await each.hear_late()
        found: list[str] = []
        for wait_s in (5, 25, 60, 120):
            await asyncio.sleep(wait_s)
            found = await _compare(villagers)
            if not found or any(" times" in each for each in found):
                break
        return [*found, *(line for each in villagers for line in each.broken)]


def _chances(world: World, name: str) -> tuple[random.Random, random.Random]:
    return world.chance(f"villager/{name}"), world.chance(f"draws/{name}")


async def _strike(machine: Machine, chance: random.Random) -> None:
    """Crashes a machine now and then, and starts it when it is down."""
    while True:
        await asyncio.sleep(chance.expovariate(1 / 6))
        try:
            if not machine.is_up:
                await machine.start()
            elif chance.random() < 0.3:
                await machine.stop()
            else:
                machine.crash(silent=chance.random() < 0.5)
        except (FederationError, Crashed):
            pass


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _compare(villagers: list[Villager]) -> list[str]:
    """What is not as it is promised."""
    found: list[str] = []
    plans = [_plan_of(each.machine) for each in villagers]
    held = [await _all_of(each.machine.service, plans) for each in villagers]
    if any(each != held[0] for each in held):
        return ["they do not hold the same yet"]
    count = Counter(held[0])
    found += [f"{text} was published {times} times" for text, times in count.items() if times > 1]
    for each in villagers:
        name, disk = each.machine.name, each.machine.disk
        found += [f"{name} published {text}, and nobody has it" for text in set(each.published) - count.keys()]
        said = {text for (text,) in disk.query("SELECT text FROM said")}
        found += [f"{name} said {text} in a transaction, and nobody has it" for text in said - count.keys()]
        given_up = await _given_up(each.machine.service)
        told = Counter(text for (text,) in disk.query("SELECT text FROM told"))
        found += [f"the ledger of {name} has {text} {times} times" for text, times in told.items() if times > 1]
        lacking = count.keys() - told.keys() - given_up["ledger"]
        found += [f"the ledger of {name} lacks {text}" for text in lacking]
        found += [f"the reader of {name} lacks {text}" for text in count.keys() - each.handled - given_up["reader"]]
        found += [
            f"the latest handler of {name} was given {text} {each.late[text]} times"
            for text in count
            if each.late[text] > 1
        ]
        found += [f"the latest handler of {name} lacks {text}" for text in count.keys() - each.late.keys()]
        both = told.keys() & given_up["ledger"]
        found += [f"the ledger of {name} has {text}, which is in quarantine" for text in both]
    return found


async def _all_of(service: FederationService, plans: Sequence[str]) -> list[str]:
    """What there is of news, and of plans all that there ever was."""
    news = service.collection(News)
    found = [entry.value for entry in await news.list(limit=10_000) if entry.key not in plans]
    found += [version.value for plan in plans for version in await news.history(plan)]
    return sorted(each.text if each is not None else "(not here)" for each in found)


async def _given_up(service: FederationService) -> dict[str, set[str]]:
    """What lies in quarantine, by handler."""
    found: dict[str, set[str]] = {"ledger": set(), "reader": set()}
    for entry in await service.inbox.listed(state="quarantined", limit=1000):
        shown = await service.inbox._found(entry.id)
        assert shown.body is not None
        assert shown.body.extra is not None
        assert shown.said is not None
        found[shown.body.extra["handler"]].add(shown.said.payload["text"])
    return found
