"""Asks connected peers for what this node lacks, and answers what they ask. One exchange with a peer at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.membership.aside import MAX_ASIDE
from covm.federation.membership.asking import Asker, answer_ask, answer_want
from covm.federation.membership.ledger import Ledger
from covm.federation.ports import Control, Gate
from covm.federation.quota import Quota
from covm.federation.wire.membership import (
    JoinRequest,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembershipFrame,
    MembersKnown,
    MembersWant,
    RelayPass,
)

if TYPE_CHECKING:
    from covm.federation.membership.members import Members

MAX_NEWS: Final = 64
"""Items told to peers at once, unasked; of more they hear by the digest, and ask."""

ANSWER_S: Final = 10.0
"""After so long without an answer an exchange is given up: the next heartbeat begins another."""

WANTED_S: Final = 1.0
"""A peer that brings gossip of strangers is asked who they are once in so long."""

MAX_QUEUED: Final = 256
"""Frames about membership that wait to be dealt with, from all peers: what is beyond is said again."""

MAX_QUEUED_OF_ONE: Final = 8
"""Of these those of one peer: whoever floods keeps nobody else waiting for long."""

MAX_NEWS_AT_ONCE: Final = 1024
"""Items that one peer shows unasked, in a burst; others are dropped, and come when the digest is compared."""

NEWS_PER_S: Final = 64.0
"""How fast that is renewed: people decide a few things a minute."""

MAX_ANSWERED_BYTES: Final = 16 * 1024 * 1024
"""Bytes that one peer is answered, in a burst: a membership of some thousands."""

ANSWERED_PER_S: Final = 1024 * 1024.0
"""How fast that is renewed: a larger membership takes its time, and whoever asks for ever gets no more than this."""

LEAST_ANSWER_BYTES: Final = 4096
"""What any answer counts as: comparing takes time as well."""

MIN_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 30.0
"""Between the ends of exchanges with a peer in which it had nothing new: twice as long each time.

Also where it says another digest by then: whoever says a new one each time is not asked more often for it.
"""

MAX_NOWHERE: Final = 2 * MAX_ASIDE
"""Items that belong nowhere, or not yet, after which an exchange ends: a larger membership takes several."""

MAX_REMEMBERED: Final = 1024
"""Peers of which anything is remembered here, unless more are connected."""


class Exchange:
    """The shell around `asking`, for all connected peers."""

    def __init__(self, members: Members, clock: Clock, counters: Counters) -> None:
        self._members = members
        self._clock = clock
        self._counters = counters
        self._control: Control
        self._gate: Gate
        self._askers: dict[str, tuple[Asker, float]] = {}
        self._fruitless: dict[str, tuple[bytes, bytes]] = {}
        """Digests, theirs and ours, with which asking a peer brought nothing: not asked again while both stay."""
        self._pauses: dict[str, tuple[float, float]] = {}
        """Until when a peer that had nothing is not asked for its digest, and how long that was."""
        self._wanted_s: dict[str, float] = {}
        self._queued: Counter[str] = Counter()
        self._news = Quota(MAX_NEWS_AT_ONCE, NEWS_PER_S)
        self._answers = Quota(MAX_ANSWERED_BYTES, ANSWERED_PER_S)
        self._queue: asyncio.Queue[tuple[str, MembershipFrame]] = asyncio.Queue(MAX_QUEUED)

    def meet(self, control: Control, gate: Gate) -> None:
        """Takes the ports to the direct streams and to the gate."""
        self._control = control
        self._gate = gate

    def heard_digest(self, peer: str, digest: bytes | None) -> None:
        """A heartbeat came: asks where the peer holds something else."""
        ours = self._members.digest
        if digest is None or digest == ours:
            return
        until_s, _ = self._pauses.get(peer, (0.0, 0.0))
        if self._fruitless.get(peer) != (digest, ours or b"") and self._clock.monotonic_s() >= until_s:
            self.ask(peer, digest)

    def received(self, peer: str, frame: MembershipFrame) -> None:
        """A frame of an admitted peer."""
        if self._queued[peer] >= MAX_QUEUED_OF_ONE or self._queue.full():
            self._counters.drop("membership_queue_full")
            return
        self._queued[peer] += 1
        self._queue.put_nowait((peer, frame))

    def ask(self, peer: str, digest: bytes = b"") -> None:
        """Begins an exchange with an admitted peer, unless one is under way."""
        now_s = self._clock.monotonic_s()
        under_way = self._askers.get(peer)
        if self._members.ledger is None or (under_way is not None and now_s < under_way[1]):
            return
        self._forget_absent(now_s)
        asker = Asker(self._members.ledger)
        asker.their_digest = digest
        self._askers[peer] = (asker, now_s + ANSWER_S)
        self._control.send_control(peer, asker.begin())

    def wanted(self, peer: str) -> None:
        """Something came by way of a peer that is of nobody known here: asks it, at most once in `WANTED_S`."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._wanted_s.get(peer, 0.0):
            self._wanted_s[peer] = now_s + WANTED_S
            self.ask(peer)

    def _forget_absent(self, now_s: float) -> None:
        if max(len(self._askers), len(self._fruitless), len(self._pauses), len(self._wanted_s)) < MAX_REMEMBERED:
            return
        there = set(self._gate.connected_peers())
        self._askers = {peer: kept for peer, kept in self._askers.items() if peer in there}
        self._fruitless = {peer: kept for peer, kept in self._fruitless.items() if peer in there}
        self._pauses = {peer: kept for peer, kept in self._pauses.items() if peer in there or kept[0] > now_s}
        self._wanted_s = {peer: kept for peer, kept in self._wanted_s.items() if peer in there}
        self._news.keep(there, now_s)
        self._answers.keep(there, now_s)

    async def run(self) -> None:
        while True:
            peer, frame = await self._queue.get()
            self._queued[peer] -= 1
            if not self._queued[peer]:
                del self._queued[peer]
            if self._members.ledger is not None and self._members.node_verdict(peer).holds:
                await self._on_frame(self._members.ledger, peer, frame)

    async def _on_frame(self, ledger: Ledger, peer: str, frame: MembershipFrame) -> None:
        match frame:
            case MembersAsk():
                self._answer(peer, lambda: answer_ask(ledger, frame))
            case MembersWant():
                self._answer(peer, lambda: answer_want(ledger, frame))
            case MembersHave():
                self._on_have(peer, frame)
            case MembersGive():
                await self._on_give(peer, frame)
            case JoinRequest() | MembersKnown() | RelayPass():
                self._counters.drop("join_frame_of_a_member")

    def _answer(self, peer: str, answer: Callable[[], MembersHave | MembersGive]) -> None:
        """Answers, unless the peer has had more than its share: its exchange ends then, and it asks again later."""
        now_s = self._clock.monotonic_s()
        if not self._answers.take(peer, LEAST_ANSWER_BYTES, now_s):
            self._counters.drop("membership_asked_too_much")
            return
        frame = answer()
        self._control.send_control(peer, frame)
        self._answers.take(peer, frame.size_bytes, now_s)

    def _on_have(self, peer: str, have: MembersHave) -> None:
        asker = self._askers.get(peer)
        if asker is not None and asker[0].awaits_ids:
            self._go_on(peer, lambda at: at.on_have(have))
        else:
            # An answer that came too late, or to nothing.
            self._counters.drop("membership_ids_unasked")

    async def _on_give(self, peer: str, give: MembersGive) -> None:
        asker = self._askers.get(peer)
        is_answer = asker is not None and asker[0].awaits_items
        if not is_answer and give.count > MAX_NEWS:
            self._counters.drop("membership_news_too_large")
            return
        if not is_answer and not self._news.take(peer, give.count, self._clock.monotonic_s()):
            self._counters.drop("membership_news_too_much")
            return
        items = await self._members.opened(give)
        if items is None:
            self._gate.misbehaved(peer, "bad_membership_item")
            return
        # The exchange may have ended meanwhile, and another begun.
        asker = self._askers.get(peer)
        if asker is not None and asker[0].was_asked(items):
            taken = self._members.take(items, source=peer)
            asker[0].gained += len(taken.new)
            asker[0].nowhere += taken.turned_away
            if asker[0].nowhere > MAX_NOWHERE:
                del self._askers[peer]
                self._ended(peer, asker[0])
                return
            self._go_on(peer, lambda at: at.after_give(items))
        elif give.count <= MAX_NEWS:
            self._members.take(items, source=peer)
        else:
            self._counters.drop("membership_news_too_large")

    def _go_on(self, peer: str, step: Callable[[Asker], MembersAsk | MembersWant | None]) -> None:
        found = self._askers.get(peer)
        if found is None:
            return
        asker = found[0]
        try:
            question = step(asker)
        except ValueError as error:
            del self._askers[peer]
            self._gate.misbehaved(peer, f"membership: {error}")
            return
        if question is not None and self._control.send_control(peer, question):
            self._askers[peer] = (asker, self._clock.monotonic_s() + ANSWER_S)
            return
        del self._askers[peer]
        if question is None and asker.their_digest:
            self._ended(peer, asker)

    def _ended(self, peer: str, asker: Asker) -> None:
        if asker.gained:
            self._pauses.pop(peer, None)
            return
        self._fruitless[peer] = (asker.their_digest, self._members.digest or b"")
        _, pause_s = self._pauses.get(peer, (0.0, MIN_PAUSE_S / 2))
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
        self._pauses[peer] = (self._clock.monotonic_s() + pause_s, pause_s)
