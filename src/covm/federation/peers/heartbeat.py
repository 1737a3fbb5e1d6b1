"""Heartbeats: a round every `heartbeat_interval`, answers at once, and judgement on who was silent.

A heartbeat without `reply_to` asks; the answer carries the four times from which round trip and clock offset follow.
Both travel on the acknowledging half of a direct stream, so messages never hold them up. Whatever else arrives of a
peer counts as a sign of life too.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Protocol

from covm.federation.clock import Clock
from covm.federation.peers.health import (
    ANSWERS_AT_ONCE,
    ANSWERS_PER_INTERVAL,
    ANSWERS_PER_S,
    Allowance,
    Estimate,
    Health,
    Pulse,
    judge,
    next_doubt,
)
from covm.federation.peers.record import PeerRecord
from covm.federation.ports import Control, Membership
from covm.federation.wire.system import FULL_LOAD, Heartbeat

ANSWER_DEADLINE_S = 5.0
"""How long the answer to one heartbeat is awaited by who measures: round trips around the world take a tenth of it."""


class Ward(Protocol):
    """Who acts on the judgement. (PeerManager)"""

    def connected_records(self) -> Iterable[PeerRecord]: ...

    def suspect(self, record: PeerRecord, silent_s: float) -> None: ...

    def recovered(self, record: PeerRecord) -> None: ...

    def lost(self, record: PeerRecord, silent_s: float) -> None: ...

    def measured(self) -> None: ...


class Heartbeats:
    """The shell around `health`."""

    def __init__(
        self,
        ward: Ward,
        control: Control,
        membership: Membership,
        clock: Clock,
        interval_s: float,
        load: Callable[[], int],
    ) -> None:
        self._ward = ward
        self._control = control
        self._membership = membership
        self._clock = clock
        self._interval_s = interval_s
        self._load = load
        self._sequence = itertools.count()
        self._answers: dict[str, Allowance] = {}
        """By connected peer."""
        self._awaited: dict[tuple[str, int], asyncio.Future[Estimate]] = {}
        self.doubt = 0

    async def run(self) -> None:
        while True:
            due_s = self._clock.monotonic_s() + self._interval_s
            await asyncio.sleep(self._interval_s)
            self.round(self._clock.monotonic_s() - due_s)

    def round(self, late_s: float) -> None:
        """Judges everybody and asks everybody. A round that came late judges nobody: we were away, not they."""
        self.doubt = next_doubt(self.doubt, late_s, self._interval_s)
        now_s = self._clock.monotonic_s()
        connected = {record.peer for record in self._ward.connected_records()}
        self._answers = {peer: answers for peer, answers in self._answers.items() if peer in connected}
        for record in list(self._ward.connected_records()):
            if record.pulse is None:
                continue
            if late_s > self._interval_s / 2:
                record.pulse.heard_s = max(record.pulse.heard_s, now_s - self._interval_s)
            self._judge(record, record.pulse, now_s)
        for record in list(self._ward.connected_records()):
            self.ask(record)

    async def measure(self, record: PeerRecord) -> Estimate | None:
        """One exchange with a connected peer; None when no answer came within `ANSWER_DEADLINE_S`."""
        sequence = self.ask(record)
        if sequence is None:
            return None
        answer: asyncio.Future[Estimate] = asyncio.get_running_loop().create_future()
        self._awaited[record.peer, sequence] = answer
        try:
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._awaited[record.peer, sequence]

    def ask(self, record: PeerRecord) -> int | None:
        """Sends a heartbeat, and returns its number; without credit none is sent, and the next round tries again."""
        if record.pulse is None:
            return None
        sequence = next(self._sequence)
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        heartbeat = Heartbeat(
            sequence=sequence, sent_at=now_ms, load=self._bounded(), membership=self._membership.digest
        )
        if not self._control.send_control(record.peer, heartbeat):
            return None
        record.pulse.note_sent(sequence, now_ms, now_s)
        return sequence

    def heard(self, record: PeerRecord) -> None:
        """Anything arrived of the peer."""
        pulse = record.pulse
        if pulse is None:
            return
        pulse.heard_s = self._clock.monotonic_s()
        if pulse.health is Health.SUSPECT:
            pulse.health = Health.HEALTHY
            self._ward.recovered(record)

    def received(self, record: PeerRecord, heartbeat: Heartbeat) -> None:
        self.heard(record)
        self._membership.heard_digest(record.peer, heartbeat.membership)
        now_ms = self._clock.now_ms()
        if heartbeat.reply_to is None:
            self._answer(record, heartbeat, now_ms)
        elif record.pulse is not None and heartbeat.received_at is not None:
            found = record.pulse.note_answer(
                heartbeat.reply_to, heartbeat.received_at, heartbeat.sent_at, now_ms, self._clock.monotonic_s()
            )
            if found is not None:
                self._ward.measured()
            awaited = self._awaited.get((record.peer, heartbeat.reply_to))
            if found is not None and awaited is not None and not awaited.done():
                awaited.set_result(found)

    def _answer(self, record: PeerRecord, heartbeat: Heartbeat, now_ms: int) -> None:
        now_s = self._clock.monotonic_s()
        allowance = self._answers.setdefault(record.peer, Allowance(now_s, ANSWERS_AT_ONCE))
        if not allowance.take(now_s, max(ANSWERS_PER_S, ANSWERS_PER_INTERVAL / self._interval_s), ANSWERS_AT_ONCE):
            return
        self._control.send_control(
            record.peer,
            Heartbeat(
                sequence=next(self._sequence),
                sent_at=self._clock.now_ms(),
                reply_to=heartbeat.sequence,
                received_at=now_ms,
                load=self._bounded(),
                membership=self._membership.digest,
            ),
        )

    def _judge(self, record: PeerRecord, pulse: Pulse, now_s: float) -> None:
        silent_s = now_s - pulse.heard_s
        health = judge(silent_s, self._interval_s, self.doubt)
        if health is pulse.health:
            return
        pulse.health = health
        if health is Health.SUSPECT:
            self._ward.suspect(record, silent_s)
        elif health is Health.LOST:
            self._ward.lost(record, silent_s)

    def _bounded(self) -> int:
        return max(0, min(self._load(), FULL_LOAD))
