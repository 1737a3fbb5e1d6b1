"""Peer exchange: connected nodes tell each other of the peers that they are connected with.

So a newcomer that knows one address finds all, those too that Kademlia never shows because nobody can dial them, and
finds them also when the node that it began with is gone. Only those who are let in here are told of, and told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from covm.federation.clock import Clock, Random
from covm.federation.counters import Counters
from covm.federation.events import EventHub
from covm.federation.network.interface import Network
from covm.federation.peers.bans import Bans
from covm.federation.peers.book import Source
from covm.federation.peers.health import Allowance
from covm.federation.peers.hints import BURST, MAX_WAITING, PERIOD_S, for_newcomer, hint_of
from covm.federation.peers.record import PeerRecord
from covm.federation.peers.roster import Roster
from covm.federation.ports import Control, Membership
from covm.federation.violations import punish
from covm.federation.wire.hints import MAX_HINTS, PeerHint, PeerHints

PAUSE_S = 0.1
"""From one look at what is due to the next. So long a newcomer waits for its first hints; those who came with it have
said by then where they are."""

NEWS_DELAY_S = (2.0, PERIOD_S)
"""The others are told of the newcomer within these: it dials them meanwhile, and both would dial at once."""


@dataclass(slots=True)
class _Telling:
    """What one connected peer is still to be told, and what the others were last told of it."""

    free_s: float
    """When the next frame may go to it."""
    waiting: dict[str, float] = field(default_factory=dict)
    """Peers, in the order in which they are told of, and from when on; at most `MAX_WAITING`."""
    known_at: tuple[str, ...] = ()

    @property
    def due_s(self) -> float | None:
        """When the next frame goes to it; None: nothing waits."""
        return max(self.free_s, min(self.waiting.values())) if self.waiting else None


class Note(Protocol):
    """Keeps what are addresses of a peer, and who gave them. (Connections)"""

    def __call__(self, peer: str, addresses: Iterable[str], source: Source, giver: str = "") -> None: ...


class PeerExchange:
    """The shell around `hints`."""

    def __init__(
        self,
        network: Network,
        roster: Roster,
        bans: Bans,
        membership: Membership,
        consider: Callable[[str], None] | None,
        clock: Clock,
        random: Random,
        counters: Counters,
        hub: EventHub,
    ) -> None:
        """`consider` dials a peer of the book, if there is room. Without it, it says nothing and takes nothing."""
        self._network = network
        self._roster = roster
        self._bans = bans
        self._membership = membership
        self._consider = consider
        self._clock = clock
        self._random = random
        self._counters = counters
        self._hub = hub
        self._tellings: dict[str, _Telling] = {}
        self._wake = asyncio.Event()
        self._control: Control
        self._note: Note

    def meet(self, control: Control, note: Note) -> None:
        """Takes the port to the direct streams, and who keeps addresses that are some."""
        self._control, self._note = control, note

    def connected(self, record: PeerRecord) -> None:
        """A peer has become *connected*: it is told of the others, and they of it."""
        if self._consider is None:
            return
        others = [each for each in self._roster.connected() if each is not record]
        now_s = self._clock.monotonic_s()
        self._tellings[record.peer] = _Telling(now_s, dict.fromkeys(for_newcomer(others, self._random), now_s))
        self.changed(record)
        self._wake.set()

    def changed(self, record: PeerRecord) -> None:
        """A peer may be found elsewhere now: the others are told, once for all that changes in a moment."""
        telling, hint = self._tellings.get(record.peer), hint_of(record)
        if telling is None or hint is None or telling.known_at == tuple(hint.addresses):
            return
        telling.known_at = tuple(hint.addresses)
        now_s = self._clock.monotonic_s()
        for peer, other in self._tellings.items():
            if peer != record.peer and len(other.waiting) < MAX_WAITING:
                other.waiting.setdefault(record.peer, now_s + self._random.uniform(*NEWS_DELAY_S))
        self._wake.set()

    def received(self, record: PeerRecord, hints: PeerHints) -> None:
        """Takes what an admitted peer says, and dials whom it did not know."""
        if self._consider is None:
            return
        peer, now_s = record.peer, self._clock.monotonic_s()
        if record.hints is None:
            record.hints = Allowance(now_s, BURST)
        if not record.hints.take(now_s, 1 / PERIOD_S, BURST):
            punish(peer, "too_many_hints", self._network, self._counters, self._hub)
            return
        for hint in hints.peers:
            if self._is_of_use(hint.peer):
                self._note(hint.peer, hint.addresses, Source.EXCHANGE, peer)
                self._consider(hint.peer)

    async def run(self) -> None:
        """Tells what is due, for as long as the node runs."""
        while True:
            await asyncio.sleep(PAUSE_S)
            self._wake.clear()
            now_s = self._clock.monotonic_s()
            self._tell_all(now_s)
            try:
                async with asyncio.timeout(self._delay_s(now_s)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _delay_s(self, now_s: float) -> float | None:
        """After how many seconds something will be due. None: nothing waits."""
        due = [due_s for telling in self._tellings.values() if (due_s := telling.due_s) is not None]
        return max(0.0, min(due) - now_s) if due else None

    def _tell_all(self, now_s: float) -> None:
        for peer, telling in list(self._tellings.items()):
            record = self._roster.get(peer)
            if record is None or not record.is_connected:
                del self._tellings[peer]
            elif (due_s := telling.due_s) is not None and due_s <= now_s:
                self._tell(peer, telling, now_s)

    def _tell(self, peer: str, telling: _Telling, now_s: float) -> None:
        taken = [other for other, from_s in telling.waiting.items() if from_s <= now_s][:MAX_HINTS]
        hints = [hint for other in taken if (hint := self._hint_of(other)) is not None]
        if hints:
            telling.free_s = now_s + PERIOD_S
            if not self._control.send_control(peer, PeerHints(hints)):
                return  # without credit; it is tried again
        for other in taken:
            del telling.waiting[other]

    def _hint_of(self, peer: str) -> PeerHint | None:
        record = self._roster.get(peer)
        if record is None or not record.is_connected or not self._membership.node_verdict(peer).holds:
            return None
        return hint_of(record)

    def _is_of_use(self, peer: str) -> bool:
        """Whether it is somebody whom this node does not know yet and would let in."""
        if peer == self._network.peer_id or peer in self._bans:
            return False
        record = self._roster.get(peer)
        if record is not None and record.is_connected:
            return False
        return self._membership.node_verdict(peer).holds
