"""Asks connected peers for what this node lacks, and answers what they ask. One exchange with a peer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.membership.asking import Asker, answer_ask, answer_want
from covm.federation.membership.ledger import Ledger
from covm.federation.ports import Control, Gate
from covm.federation.wire.membership import (
    JoinRequest,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembershipFrame,
    MembersKnown,
    MembersWant,
)

if TYPE_CHECKING:
    from covm.federation.membership.members import Members

MAX_NEWS: Final = 64
"""Items told to peers at once, unasked; of more they hear by the digest, and ask."""

ANSWER_S: Final = 10.0
"""After so long without an answer an exchange is given up: the next heartbeat begins another."""

WANTED_S: Final = 1.0
"""A peer that brings gossip of strangers is asked who they are once in so long."""

MAX_QUEUED: Final = 64
"""Frames about membership that wait to be dealt with, from all peers: what is beyond is said again."""


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
        self._wanted_s: dict[str, float] = {}
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
        if self._fruitless.get(peer) != (digest, ours or b""):
            self.ask(peer, digest)

    def received(self, peer: str, frame: MembershipFrame) -> None:
        """A frame of an admitted peer."""
        try:
            self._queue.put_nowait((peer, frame))
        except asyncio.QueueFull:
            self._counters.drop("membership_queue_full")

    def ask(self, peer: str, digest: bytes = b"") -> None:
        """Begins an exchange with an admitted peer, unless one is under way."""
        now_s = self._clock.monotonic_s()
        under_way = self._askers.get(peer)
        if self._members.ledger is None or (under_way is not None and now_s < under_way[1]):
            return
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

    def forget(self, peer: str) -> None:
        """The peer is not there any more."""
        self._askers.pop(peer, None)
        self._fruitless.pop(peer, None)
        self._wanted_s.pop(peer, None)

    async def run(self) -> None:
        while True:
            peer, frame = await self._queue.get()
            if self._members.ledger is not None and self._members.node_verdict(peer).holds:
                await self._on_frame(self._members.ledger, peer, frame)

    async def _on_frame(self, ledger: Ledger, peer: str, frame: MembershipFrame) -> None:
        match frame:
            case MembersAsk():
                self._control.send_control(peer, answer_ask(ledger, frame))
            case MembersWant():
                self._control.send_control(peer, answer_want(ledger, frame))
            case MembersHave():
                self._go_on(peer, lambda asker: asker.on_have(frame))
            case MembersGive():
                await self._on_give(peer, frame)
            case JoinRequest() | MembersKnown():
                self._counters.drop("join_frame_of_a_member")

    async def _on_give(self, peer: str, give: MembersGive) -> None:
        items = await self._members.opened(give)
        if items is None:
            self._gate.misbehaved(peer, "bad_membership_item")
            return
        asker = self._askers.get(peer)
        if asker is not None and asker[0].was_asked(items):
            taken = await self._members.take(items, source=peer)
            asker[0].gained += len(taken.new)
            self._go_on(peer, lambda at: at.after_give(items))
        elif give.count <= MAX_NEWS:
            await self._members.take(items, source=peer)
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
        if question is None and not asker.gained and asker.their_digest:
            self._fruitless[peer] = (asker.their_digest, self._members.digest or b"")
