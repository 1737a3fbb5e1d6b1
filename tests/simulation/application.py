"""The application on each node: what it sends and handles, all of it told to the ledger."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from tests.simulation.plan import Plan

from covm.federation import FederationService, Message
from covm.federation.errors import (
    DeliveryTimeout,
    FederationError,
    MessageError,
    NotStarted,
    OutboxFull,
    StoreError,
    StoreFull,
    UnknownMessage,
)
from covm.testing import Call, Checkers, Entry, Fate, Ledger, Machine, World, checkers

ORDER = "trade.order"
"""Handled in a transaction, and answered in it."""
ENTRY = "trade.entry"
"""Sent in a transaction, and handled in one."""
NOTE = "trade.note"
"""Handled by a plain handler."""
ODD = "trade.odd"
"""Handled by nobody at first."""
ANSWER = "trade.answer"
NEWS = "trade.news"

TRANSACTIONAL = frozenset({ORDER, ENTRY, ODD})
FOR_EVER = timedelta(days=1)
SHORT_LIFE_S = 10.0


class NotYet(Exception):
    """What handlers raise that are to fail."""


class Application:
    """What runs on one machine, through all its lives."""

    def __init__(self, machine: Machine, world: World, plan: Plan, ledger: Ledger, checks: Checkers) -> None:
        self.machine = machine
        self.handles_odd = not plan.odd_type
        self._others = [each for each in world.machines if each is not machine]
        self._names = {each.peer_id: each.name for each in world.machines}
        self._world = world
        self._plan = plan
        self._ledger = ledger
        self._checks = checks
        self._chance = world.chance(f"application/{machine.name}")
        self._slowness = world.chance(f"handlers/{machine.name}")
        self._first_calls: dict[tuple[str, str, str], int] = {}
        machine.application = self.begin

    def begin(self, machine: Machine, service: FederationService) -> None:
        """A new life: handlers again, and the fate of what was sent before is asked for."""
        service.subscribe(ORDER, self._on_order, name="orders", transactional=True)
        service.subscribe(ENTRY, self._on_effect, name="entries", transactional=True)
        service.subscribe(ANSWER, self._on_answer, name="answers", transactional=True)
        service.subscribe(NOTE, self._on_note, name="notes")
        if self.handles_odd:
            service.subscribe(ODD, self._on_effect, name="odd", transactional=True)
        self._do(self._watch(service))
        self._do(self._resume(service))

    async def _watch(self, service: FederationService) -> None:
        async for event in service.events():
            self.machine.note("event", event)
            if type(event).__name__ == "NodeFailed":
                self._ledger.complain(None, f"the node on {self.machine.name} failed: {event}")

    def handle_odd_from_now_on(self) -> None:
        """Now somebody handles the odd type."""
        if not self.handles_odd:
            self.handles_odd = True
            if self.machine.is_up:
                self.machine.service.subscribe(ODD, self._on_effect, name="odd", transactional=True)

    # --- handlers ---

    def _on_order(self, message: Message[Any], tx: Any) -> None:
        self._on_effect(message, tx)
        tx.send_direct(message.author, ANSWER, {"token": message.payload["token"]})

    def _on_effect(self, message: Message[Any], tx: Any) -> None:
        payload = message.payload
        self._ledger.receive(self._ledger.entries[payload["token"]], message)
        self.machine.note("effect", payload["token"], message.attempt)
        checkers.note_effect(
            tx, payload["token"], self._names[message.author], message.type, payload["number"], message.out_of_order
        )
        if message.attempt <= payload["fails"]:
            raise NotYet

    def _on_answer(self, message: Message[Any], tx: Any) -> None:
        self.machine.note("answer", message.payload["token"], message.attempt)
        checkers.note_reply(tx, message.payload["token"])

    async def _on_note(self, message: Message[Any]) -> None:
        entry = self._ledger.entries[message.payload["token"]]
        self._ledger.receive(entry, message)
        self.machine.note("note", entry.token, message.attempt)
        call = Call(message.attempt)
        self._checks.called(entry, call)
        if not entry.calls and not message.out_of_order:
            self._first_call(entry)
        entry.calls.append(call)
        if self._slowness.random() < 0.3:
            await asyncio.sleep(self._slowness.uniform(0.0, 0.5))
        if message.attempt <= message.payload["fails"]:
            raise NotYet
        call.returned = True

    def _first_call(self, entry: Entry) -> None:
        last = self._first_calls.get(entry.lane, 0)
        if not (entry.is_retried or entry.lost_by_recipient) and entry.number < last:
            self._ledger.complain(entry, f"its handler was called after that of number {last}")
        self._first_calls[entry.lane] = max(last, entry.number)

    # --- sending ---

    async def live(self) -> None:
        """What the application does by itself, as long as the story lasts; the machine may be down."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._plan.sends_every_s))
            burst = self._chance.randint(1, self._plan.most_in_a_burst)
            peer, kind = self._chance.choice(self._others), self._chance.random()
            for _ in range(burst):
                drawn = self._chance.random(), self._chance.random(), self._chance.choice((1, 2, 9))
                if self.machine.is_up:
                    self._send(peer, kind, *drawn)

    async def change_its_mind(self) -> None:
        """Somebody cancels a message, or has one tried again."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._plan.second_thoughts_every_s))
            mine = [each for each in self._ledger.entries.values() if each.sender == self.machine.name]
            mine = [each for each in mine if each.fate is Fate.TAKEN and each.state != "handled"]
            if mine and self.machine.is_up:
                self._do(self._reconsider(self.machine.service, self._chance.choice(mine)))

    def _send(self, peer: Machine, kind: float, life: float, luck: float, fails: int) -> None:
        service = self.machine.service
        lives_s = SHORT_LIFE_S if life < self._plan.short_lives else None
        fails = fails if luck < self._plan.failing else 0
        if kind < 0.05:
            self._do(self._publish(service))
        elif kind < 0.3:
            self._do(self._send_in_transaction(service, peer, fails, undone=luck > 0.9))
        else:
            type_name = ORDER if kind < 0.6 else ODD if kind > 0.95 else NOTE
            self._do(self._send_one(service, peer, type_name, fails, lives_s))

    def _do(self, work: Any) -> None:
        task = self.machine.spawn(work)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ledger.complain(None, f"an application on {self.machine.name} got {error!r}")

    async def _publish(self, service: FederationService) -> None:
        with contextlib.suppress(NotStarted, StoreError):
            await service.publish(NEWS, {"from": self.machine.name})

    async def _send_one(
        self, service: FederationService, peer: Machine, type_name: str, fails: int, lives_s: float | None
    ) -> None:
        entry = self._ask(peer, type_name, fails)
        time_to_live = None if lives_s is None else timedelta(seconds=lives_s)
        try:
            receipt = await service.send_direct(peer.peer_id, type_name, _payload(entry), time_to_live=time_to_live)
        except (OutboxFull, StoreFull):
            entry.fate = Fate.TURNED_AWAY
        except (NotStarted, StoreError):
            pass  # it may be on the disk all the same
        else:
            self._ledger.take(entry, receipt.id, self._world.loop.time())
            await self._follow(entry, receipt)

    async def _send_in_transaction(
        self, service: FederationService, peer: Machine, fails: int, *, undone: bool
    ) -> None:
        entry = self._ask(peer, ENTRY, fails)

        def work(tx: Any) -> str:
            checkers.note_journal(tx, entry.token)
            message_id: str = tx.send_direct(peer.peer_id, ENTRY, _payload(entry))
            if undone:
                raise NotYet
            return message_id

        try:
            message_id = await service.transaction(work)
        except (NotYet, OutboxFull, StoreFull):
            entry.fate = Fate.TURNED_AWAY
        except (NotStarted, StoreError):
            pass
        else:
            self._ledger.take(entry, message_id, self._world.loop.time())
            await self._follow_again(service, entry)

    async def _reconsider(self, service: FederationService, entry: Entry) -> None:
        try:
            if entry.state in {"", "queued", "stored"} and not entry.is_retried:
                await service.outbox.cancel(entry.message_id)
            else:
                entry.is_retried = True
                await service.outbox.retry(entry.message_id)
                await self._follow_again(service, entry)
        except (MessageError, NotStarted, StoreError):
            pass  # too late, or no time for it

    def _ask(self, peer: Machine, type_name: str, fails: int) -> Entry:
        return self._ledger.ask(self.machine.name, peer.name, type_name, self._world.loop.time(), fails)

    # --- receipts ---

    async def ask_for_the_last_word(self) -> None:
        """What expired or was cancelled may have arrived all the same; then the receipt says so in the end."""
        service = self.machine.service
        for entry in list(self._ledger.entries.values()):
            if entry.sender == self.machine.name and entry.fate is Fate.TAKEN and not entry.lost_by_sender:
                self._hear(entry, await service.receipt(entry.message_id), anew=True)

    async def _resume(self, service: FederationService) -> None:
        while not service.addresses:  # noqa: ASYNC110 - time is made up
            await asyncio.sleep(0.1)
        for entry in list(self._ledger.entries.values()):
            if entry.sender == self.machine.name and entry.fate is Fate.TAKEN and entry.state != "handled":
                self._do(self._follow_again(service, entry))

    async def _follow_again(self, service: FederationService, entry: Entry) -> None:
        while True:
            try:
                receipt = await service.receipt(entry.message_id)
            except UnknownMessage:
                if not entry.lost_by_sender:
                    self._ledger.complain(entry, "its sender does not know it any more")
                return
            except NotStarted:
                return
            except StoreError:
                await asyncio.sleep(1.0)
            else:
                self._hear(entry, receipt, anew=True)
                await self._follow(entry, receipt)
                return

    async def _follow(self, entry: Entry, receipt: Any) -> None:
        """Hears what the receipt says as it says it, and holds it against what is on the disks then."""
        for wait in (receipt.stored, receipt.handled):
            try:
                await wait(FOR_EVER)
            except DeliveryTimeout:
                return
            except NotStarted:
                return
            except FederationError:
                pass
            self._hear(entry, receipt)

    def _hear(self, entry: Entry, receipt: Any, *, anew: bool = False) -> None:
        if receipt.state != entry.state:
            self.machine.note("receipt", entry.token, receipt.state, receipt.reason)
        self._ledger.say(entry, receipt.state, receipt.reason, anew=anew)
        if receipt.state == "stored":
            self._checks.stored(entry)
        if receipt.state == "handled":
            self._checks.handled(entry)


def _payload(entry: Entry) -> dict[str, Any]:
    return {"token": entry.token, "number": entry.number, "fails": entry.fails}
