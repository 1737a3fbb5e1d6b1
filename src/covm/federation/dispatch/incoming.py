"""One peer's sequence to us: what its streams bring is taken one after the other, judged, committed, and then told.

It outlives streams. A commit that is under way when its stream ends is awaited before the next stream's HELLO is
answered, so that what is said to be stored is exactly what is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.dispatch import inbox_jobs, tables
from covm.federation.dispatch.batching import make_batch
from covm.federation.dispatch.dispatcher import MessageDispatcher
from covm.federation.dispatch.durable import Durable
from covm.federation.dispatch.inbox import Judgement, Offered, judge
from covm.federation.dispatch.inbox_jobs import Batch, LineRow, Stored
from covm.federation.dispatch.inbox_journal import FIRST_PAUSE_S, LAST_PAUSE_S
from covm.federation.dispatch.incoming_stream import Greeting, Stream, trouble_of
from covm.federation.errors import NotStarted, StoreError
from covm.federation.events import EventHub, ReceivedLess
from covm.federation.ports import Membership
from covm.federation.supervisor import Supervisor
from covm.federation.wire.frames import Hello, Outcome, Position
from covm.federation.wire.incarnation import Incarnation

if TYPE_CHECKING:
    from covm.federation.store.interface import Job

logger = logging.getLogger("covm.federation.dispatch")

T = TypeVar("T")

MAX_UNCONFIRMED = 100_000
"""Outcomes that a sender has not confirmed. An honest one confirms within a round trip; then it is not read."""

MAX_OUTCOME_NUMBER = 2**48
"""The highest number of an outcome: a million a second for nine years."""

OUTCOMES_READ = 2_048
"""Outcomes read at once, and said in one frame: with the longest reasons they stay under two thirds of it."""

LESS_PERIOD_S = 60.0
"""A peer that says we hold less than we acknowledged is told of once in so long: it costs a liar nothing to say."""

MAX_INCOMING = 1_000
"""Peers whose lines are remembered; for one that was forgotten the store is asked again."""


class _Step(NamedTuple):
    """What a stream brought, to be taken in its turn."""

    stream: Stream
    take: Callable[[], object] | None = None
    offered: Sequence[Offered] = ()
    size_bytes: int = 0


class Incoming:
    """The shell around `judge`, one for each peer."""

    def __init__(self, peer: str, owner: Incomings) -> None:
        self.peer = peer
        self._owner = owner
        self._journal = owner.dispatcher.journal
        self._steps: deque[_Step] = deque()
        self._is_running = False
        self._stream: Stream | None = None
        self._line: LineRow | None = None
        """The line that is written to; its id is 0 until something was stored on it."""
        self._author_id: int | None = None
        self._confirmed = self._told = 0
        self._next_less_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost when it is forgotten."""
        return not self._is_running and (self._stream is None or self._stream.is_over)

    def forget(self) -> None:
        """Nobody needs it any more."""
        if self._line is not None and self._line.line_id:
            self._journal.leave(self._line.line_id, self)

    # --- what streams bring

    def greet(self, stream: Stream, hello: Hello) -> None:
        """A stream begins."""
        self._add(_Step(stream, partial(self._greet, stream, hello)))

    def offer(self, stream: Stream, offered: Sequence[Offered], size_bytes: int) -> None:
        """Messages came; credit for `size_bytes` is due when they are stored."""
        self._add(_Step(stream, None, offered, size_bytes))

    def prove(self, stream: Stream, incarnation: Incarnation) -> None:
        """The peer asks to be shown what it signed last."""
        self._add(_Step(stream, partial(self._prove, stream, incarnation)))

    def catch_up(self, stream: Stream, said: int) -> None:
        """The stream lacks outcomes above this number."""
        self._add(_Step(stream, partial(self._catch_up, stream, said)))

    def confirm(self, stream: Stream, upto: int) -> None:
        """The peer has outcomes up to this number on its disk."""
        if upto > self._told:
            stream.violated("confirm_of_untold")
        elif upto > self._confirmed and self._line is not None and self._line.line_id:
            self._confirmed = upto
            self._journal.confirm(self._line.line_id, upto)
            self._journal.wake_waiters()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes of the line were committed. (The journal's side)"""
        if outcomes:
            self._told = max(self._told, outcomes[-1].number)
        if self._stream is not None and not self._stream.is_over:
            self._stream.tell(outcomes)

    def look(self) -> None:
        """Outcomes may have been committed without a word. (The journal's side)"""
        if self._stream is not None and not self._stream.is_over:
            self._stream.look()

    # --- one after the other

    def _add(self, step: _Step) -> None:
        if step.stream.is_over:
            return
        if self._steps and self._steps[-1].stream is not step.stream:
            # Credit ended with the streams before it: while the disk is slow, what they brought must not pile up.
            self._steps = deque(each for each in self._steps if not each.stream.is_over)
        self._steps.append(step)
        if not self._is_running:
            self._is_running = True
            try:
                self._owner.supervisor.launch(self._run(), f"messages from {self.peer}")
            except NotStarted:
                self._is_running = False
                self._steps.clear()

    async def _run(self) -> None:
        step: _Step | None = None
        has_failed = True
        try:
            while self._steps:
                step = self._steps.popleft()
                if step.stream.is_over:
                    continue
                if step.take is None:
                    await self._take(step)
                else:
                    await step.take()  # type: ignore[misc]
            has_failed = False
        except asyncio.CancelledError:
            has_failed = False
            raise
        finally:
            self._is_running = False
            if has_failed:
                streams = {id(each.stream): each.stream for each in (step, *self._steps) if each is not None}
                self._steps.clear()
                for stream in streams.values():
                    stream.failed()

    async def _until_it_works(self, stream: Stream, work: Callable[[Job[T]], object], job: Job[T]) -> T | None:
        """A job's result; None when the stream ended while the store could not do it."""
        pause_s = FIRST_PAUSE_S
        while not stream.is_over:
            try:
                return await work(job)  # type: ignore[misc, no-any-return]
            except StoreError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
        return None

    # --- HELLO, proofs, outcomes

    async def _greet(self, stream: Stream, hello: Hello) -> None:
        if hello.outcomes_upto > MAX_OUTCOME_NUMBER:
            stream.violated("outcomes_upto_too_high")
            return
        store = self._journal.store
        query = partial(
            inbox_jobs.load_greeting,
            sender=self.peer,
            incarnation=hello.incarnation,
            said=hello.outcomes_upto,
            limit=OUTCOMES_READ,
        )
        found = await self._until_it_works(stream, store.read, query)
        if found is None:
            return
        row, outcomes = found
        newer = row.incarnation if row is not None and row.incarnation > hello.incarnation else None
        self._adopt(row if newer is None else None, hello)
        line = self._line
        if newer is None and line is not None and line.line_id:
            if hello.outcomes_upto >= line.next_outcome:
                # We went back in time: numbers that the sender knows must not come again for something else.
                raised = partial(inbox_jobs.raise_outcomes, line_id=line.line_id, number=hello.outcomes_upto)
                if await self._until_it_works(stream, store.write, raised) is None:
                    return
                outcomes = []
            elif hello.outcomes_upto:
                self._journal.confirm(line.line_id, hello.outcomes_upto)
        self._told = max(hello.outcomes_upto, line.next_outcome - 1 if line is not None else 0)
        # What the store no longer has was confirmed once, whatever the sender remembers of it.
        self._confirmed = outcomes[0].number - 1 if outcomes else self._told
        self._stream = stream
        if newer is not None:
            self._line = None
            stream.greeted_with(Greeting(None, newer, 0, [], True))
            return
        stored = line.position if line is not None else None
        self._compare(hello, stored)
        is_all = len(outcomes) < OUTCOMES_READ
        stream.greeted_with(Greeting(stored, None, hello.outcomes_upto, outcomes, is_all))

    def _adopt(self, row: LineRow | None, hello: Hello) -> None:
        """Makes the HELLO's incarnation the one that is listened to."""
        if self._line is not None and self._line.line_id:
            self._journal.leave(self._line.line_id, self)
        if row is not None:
            self._author_id = row.author_id
        if row is not None and row.incarnation == hello.incarnation:
            self._line = row
            self._journal.hear(row.line_id, self)
        else:
            self._line = LineRow(0, 0, hello.incarnation, 0, None, hello.outcomes_upto + 1)

    def _compare(self, hello: Hello, stored: Position | None) -> None:
        """Tells when the peer says that we acknowledged more than we hold: our store may have gone back in time."""
        held = stored.seq if stored is not None else 0
        now_s = self._owner.clock.monotonic_s()
        if hello.acked is not None and hello.acked.seq > held and now_s >= self._next_less_s:
            self._next_less_s = now_s + LESS_PERIOD_S
            logger.warning("%s says that %d messages were acknowledged, held are %d", self.peer, hello.acked.seq, held)
            self._owner.hub.emit(ReceivedLess(self.peer, hello.acked.seq, held))

    async def _prove(self, stream: Stream, incarnation: Incarnation) -> None:
        query = partial(inbox_jobs.last_envelope, sender=self.peer, incarnation=incarnation)
        found = await self._until_it_works(stream, self._journal.store.read, query)
        if found is not None:
            stream.proved(incarnation, found or None)

    async def _catch_up(self, stream: Stream, said: int) -> None:
        if self._line is None or not self._line.line_id:
            return
        query = partial(inbox_jobs.outcomes_after, line_id=self._line.line_id, number=said, limit=OUTCOMES_READ)
        found = await self._until_it_works(stream, self._journal.store.read, query)
        if found is not None:
            if found:
                self._told = max(self._told, found[-1].number)
            stream.fetched(found, is_all=len(found) < OUTCOMES_READ)

    # --- messages

    async def _take(self, step: _Step) -> None:
        """Takes what came, as one batch with what came behind it meanwhile."""
        stream = step.stream
        await self._journal.room_for(lambda: self._is_full() and not stream.is_over)
        offered, size_bytes = list(step.offered), step.size_bytes
        while self._steps and self._steps[0].take is None and self._steps[0].stream is stream:
            further = self._steps.popleft()
            offered += further.offered
            size_bytes += further.size_bytes
        pause_s = FIRST_PAUSE_S
        while not stream.is_over:
            line = self._line
            incarnation = line.incarnation if line is not None else None
            stored_seq, stored_mid = (line.stored_seq, line.stored_mid) if line is not None else (0, None)
            judgement = judge(incarnation, stored_seq, stored_mid, offered)
            if line is None or not judgement.moves:
                stream.took(judgement, size_bytes)
                return
            batch = make_batch(self._owner, line, self._author_id, self.peer, judgement)
            try:
                stored = await self._journal.store.write(partial(inbox_jobs.store_batch, batch=batch))
            except StoreError as error:
                stream.troubled(trouble_of(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
                await self._look_again(stream, line, batch)
                continue
            self._committed(stream, judgement, batch, stored, size_bytes)
            return

    def _is_full(self) -> bool:
        return self._journal.holdings.is_full(self.peer) or self._told - self._confirmed > MAX_UNCONFIRMED

    async def _look_again(self, stream: Stream, line: LineRow, batch: Batch) -> None:
        """A commit that failed may have been done all the same: where does the line stand?"""
        query = partial(inbox_jobs.load_again, sender=self.peer, ids=[row.inbox_id for row in batch.rows])
        found = await self._until_it_works(stream, self._journal.store.read, query)
        if found is None:
            return
        row, there = found
        if row is None or row.incarnation != line.incarnation:
            return
        self._line, self._author_id = row, row.author_id
        self._journal.hear(row.line_id, self)
        stream.look()
        for each in batch.rows:
            # It was: what nobody took into memory is fetched from there.
            state, lane, size_bytes = there.get(each.inbox_id), (self.peer, each.type), len(each.body)
            if state == tables.PENDING:
                self._journal.holdings.add(self.peer, size_bytes)
                self._owner.dispatcher.resume(lane, each.inbox_id)
            elif state == tables.UNHANDLED:
                self._owner.dispatcher.shelved(lane, each.inbox_id, size_bytes)

    def _committed(self, stream: Stream, judgement: Judgement, batch: Batch, stored: Stored, size_bytes: int) -> None:
        """A batch is on disk: say so, then hand it on."""
        self._author_id = stored.author_id
        if not batch.line_id:
            self._journal.hear(stored.line_id, self)
        last = stored.outcomes[-1].number if stored.outcomes else batch.next_outcome - 1
        self._line = LineRow(
            stored.line_id,
            stored.author_id,
            batch.incarnation,
            batch.stored_seq,
            batch.stored_mid,
            max(last + 1, batch.next_outcome),
        )
        if stored.repeated:
            self._owner.counters.drop("repeated", len(stored.repeated))
        stream.took(judgement, size_bytes)
        self.tell(stored.outcomes)
        self._hand_on(judgement, batch, stored)

    def _hand_on(self, judgement: Judgement, batch: Batch, stored: Stored) -> None:
        dispatcher, journal = self._owner.dispatcher, self._journal
        arrivals: list[Durable] = []
        for row, offered in zip(batch.rows, judgement.new, strict=True):
            lane = (self.peer, row.type)
            if row.inbox_id in stored.repeated:
                if (size_bytes := stored.revived.get(row.inbox_id)) is not None:
                    journal.quarantine.remove(self.peer, size_bytes)
                    journal.holdings.add(self.peer, size_bytes)
                    dispatcher.resume(lane, row.inbox_id)
            elif row.refused:
                continue
            elif row.state == tables.UNHANDLED:
                dispatcher.shelved(lane, row.inbox_id, len(row.body))
            else:
                journal.holdings.add(self.peer, len(row.body))
                arrivals.append(Durable(offered.body, len(row.body), row.inbox_id))
        if arrivals:
            dispatcher.deliver(journal.hold(arrivals))


class Incomings:
    """The lines of all peers."""

    def __init__(
        self,
        dispatcher: MessageDispatcher,
        supervisor: Supervisor,
        clock: Clock,
        counters: Counters,
        hub: EventHub,
        membership: Membership,
        max_message_size: int,
    ) -> None:
        self.dispatcher = dispatcher
        self.supervisor = supervisor
        self.clock = clock
        self.counters = counters
        self.hub = hub
        self.membership = membership
        self.max_message_size = max_message_size
        self._of: dict[str, Incoming] = {}

    def stream_ended(self) -> None:
        """Whoever waits for room on its behalf stops waiting."""
        self.dispatcher.journal.wake_waiters()

    def of(self, peer: str) -> Incoming:
        """The peer's line."""
        incoming = self._of.pop(peer, None) or Incoming(peer, self)
        self._of[peer] = incoming
        if len(self._of) > MAX_INCOMING:
            idle = next((each for each, one in self._of.items() if one.is_idle and each != peer), None)
            if idle is not None:
                self._of.pop(idle).forget()
        return incoming
