"""`Bodies`: fetches the bodies of records that came without; those above 64 KiB do not travel beside their headers.

    lacking, from the store ──> peers that hold the type, one after the other ──verified chunks──> Keeper.embody

What came without its body has its place, and counts: where chains end, and what replaces what, does not depend on
bodies. So a peer that keeps bodies back, or has dropped them, keeps nobody from getting them elsewhere. What was
replaced meanwhile is fetched for handlers alone, which are to be given everything that was published.

What is lacking stands in the store, so a restart goes on where the last run ended. It is gone through in rounds, a page
of each type at a time: what comes new at once, what came lately again after pauses that double, and all of it after
pauses of its own, so that whoever sends records without bodies has no others asked for more often. Types whose bodies
are wanted on demand are left out until somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

from covm import _native
from covm.federation.errors import BodyUnavailable, FederationError, NotStarted, StoreError
from covm.federation.identity.roles import Action
from covm.federation.ports import BodySource, Membership, Unobtainable, Withheld
from covm.federation.surroundings import Surroundings
from covm.federation.sync import body_rows
from covm.federation.sync.body_rows import Lacking
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.plan import Arrived
from covm.federation.sync.taken import Taken
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import decode_record_body

logger = logging.getLogger("covm.federation.sync")

AT_ONCE: Final = 4
"""Bodies under way in rounds, 4 MiB; as many more may be that somebody asked for."""

PAGE: Final = 64
"""Records that are looked up at once."""

PEERS_A_BODY: Final = 8
"""Peers asked for one body in a round; in the next one others."""

TURN_S: Final = 120.0
"""How long one peer may take in a round, for all bodies together: who is slow holds up nobody else."""

FIRST_PAUSE_S: Final = 5.0
LAST_PAUSE_S: Final = 3600.0
"""Before what was not to be had is asked for again: it doubles while nothing comes."""

MAX_ASKED: Final = 256
"""Bodies that programs looked for and that wait to be fetched: what is beyond is fetched when looked for again."""

MAX_BRINGERS: Final = 4096
"""Logs of which it is remembered who brought them: who has the headers should have the bodies."""


@dataclass(slots=True)
class Pace:
    """When something is asked for again."""

    pause_s: float = FIRST_PAUSE_S
    due_s: float = inf

    def put_off(self, now_s: float, *, is_first: bool) -> None:
        """Something was not to be had."""
        self.pause_s = FIRST_PAUSE_S if is_first else min(2 * self.pause_s, LAST_PAUSE_S)
        self.due_s = now_s + self.pause_s


class Bodies:
    """The shell; it is a `ports.BodyShelf`."""

    def __init__(
        self,
        around: Surroundings,
        keeper: Keeper,
        membership: Membership,
        source: BodySource,
        on_demand: Callable[[], Collection[str]],
    ) -> None:
        self._around = around
        self._keeper = keeper
        self._membership = membership
        self._source = source
        self._on_demand = on_demand
        self._wanted: set[str] = set()
        """Types of which all bodies are fetched, whatever they were registered with."""
        self._handed: frozenset[str] = frozenset()
        """Types of which handlers are given everything, also what was replaced."""
        self._owed: tuple[int, set[str]] | None = None
        """Those of them of which something is still to come, as of a judgement."""
        self._peers: Callable[[str], Iterable[str]] = lambda _type: ()
        self._bringers: OrderedDict[_native.Link, str] = OrderedDict()
        self._under_way: dict[_native.Link, asyncio.Future[str]] = {}
        self._asked: set[_native.Link] = set()
        self._places, self._places_of_asked = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._aside: set[str] = set()
        """Peers that withheld or lied, or whose turn is over: not asked again in this round."""
        self._spent_s: defaultdict[str, float] = defaultdict(float)
        """How long each peer took in this round."""
        self._after: dict[str, int] = {}
        """Of each type: everything up to this record was looked at."""
        self._old: dict[str, int] = {}
        """Behind these stands what came lately."""
        self._turn = 0
        """Counts rounds: each begins with other peers."""
        self._is_anew = True
        self._wake = asyncio.Event()
        keeper.listeners.append(self._kept)

    def meet(self, peers: Callable[[str], Iterable[str]]) -> None:
        """The connected peers that hold something of a type."""
        self._peers = peers

    def all_of(self, types: Iterable[str]) -> None:
        """Somebody looks at everything of these types."""
        self._wanted.update(types)
        self.anew()

    def hand_out(self, types: Iterable[str]) -> None:
        """Handlers are given everything that was published of these types, and of no others."""
        if (handed := frozenset(types)) != self._handed:
            self._handed, self._owed = handed, None
            self.anew()

    async def owed(self) -> set[str]:
        """Types of which something that was replaced is still to come, for handlers: nobody should drop it yet."""
        at, handed = self._keeper.judged, self._handed
        if self._owed is None or self._owed[0] != at:
            try:
                found = await self._keeper.store.read(lambda tx: body_rows.owed(tx, handed))
            except StoreError:
                return set(handed)
            if handed is self._handed:
                self._owed = at, found
            return found
        return self._owed[1]

    def gave_up(self, type_name: str, count: int) -> None:
        """So many bodies that were replaced are not asked for any more."""
        self._owed = None
        if count and type_name in self._handed:
            self._around.counters.drop("record_value_gone", count)
            told = "handlers of %s are not given %d records: they were replaced, and their values were not to be had"
            logger.warning(told, type_name, count)

    def brought(self, peer: str, logs: Iterable[_native.Link]) -> None:
        """A peer has brought records of these logs."""
        for log in logs:
            self._bringers[log] = peer
            self._bringers.move_to_end(log)
        while len(self._bringers) > MAX_BRINGERS:
            self._bringers.popitem(last=False)

    def anew(self) -> None:
        """What was not to be had may be now, or something else be lacking: somebody has come, or members changed."""
        self._is_anew = True
        self._wake.set()

    def ask_for(self, records: Iterable[_native.Link]) -> None:
        """Fetches the bodies of these in the background."""
        for record in records:
            if record not in self._asked and len(self._asked) < MAX_ASKED:
                with contextlib.suppress(NotStarted):  # a node that stops fetches nothing
                    self._around.supervisor.launch(self._ask_for(record), f"the body of {record}")
                    self._asked.add(record)

    async def fetch(self, record: _native.Link) -> None:
        """Returns once the body of a record is here, or is not to be. Raises `BodyUnavailable`, `StoreError`."""
        self._turn += 1
        lacking = await self._keeper.store.read(lambda tx: body_rows.lacks(tx, record))
        if lacking is not None and (why := await self._get(lacking, self._places_of_asked)):
            raise BodyUnavailable(lacking.record.body.type, lacking.record.body.key, why)

    async def run(self) -> None:
        """Goes through what is lacking, without an end."""
        whole, lately, earliest_s = Pace(), Pace(), -inf
        while True:
            self._wake.clear()
            now_s = self._now_s()
            # Whatever is said how often: not all of it again and again.
            is_anew = self._is_anew and now_s >= earliest_s
            is_whole = is_anew or now_s >= whole.due_s
            is_again = is_whole or now_s >= lately.due_s
            if is_again:
                self._turn += 1
                self._aside.clear()
            if is_whole:
                self._is_anew, self._old, self._after = False, self._after, {}
            elif is_again:
                self._after = dict(self._old)
            self._spent_s.clear()
            got, missed = await self._round()
            now_s = self._now_s()
            if is_whole:
                whole.due_s, earliest_s = inf, now_s + FIRST_PAUSE_S
            if is_again:
                lately.due_s = inf
            if missed:
                lately.put_off(now_s, is_first=got or is_anew or not is_again)
                if is_whole:
                    whole.put_off(now_s, is_first=got or is_anew)
            left_s = min(whole.due_s, lately.due_s, earliest_s if self._is_anew else inf) - now_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s if left_s < inf else None):
                    await self._wake.wait()

    # --- ports.BodyShelf

    async def body_for(self, peer: str, record: bytes, begin: int, count: int) -> bytes | None:
        name = await self._keeper.store.read(lambda tx: body_rows.type_of(tx, record))
        if name is None or not self._membership.may(peer, Action.READ, name).holds:
            return None
        return await self._keeper.store.read(lambda tx: body_rows.piece(tx, record, begin, count))

    # --- inside

    def _kept(self, taken: Taken) -> None:
        if taken.lacks_bodies:
            self._wake.set()

    async def _ask_for(self, record: _native.Link) -> None:
        try:
            with contextlib.suppress(FederationError):  # whoever looks again is told so again
                await self.fetch(record)
        finally:
            self._asked.discard(record)

    async def _round(self) -> tuple[bool, bool]:
        """Fetches what is lacking behind what was looked at; whether something came, and whether some did not."""
        got = missed = False
        while True:
            find = partial(
                body_rows.pages,
                after=self._after,
                limit=PAGE,
                left_out=set(self._on_demand()) - self._wanted,
                handed=self._handed,
            )
            try:
                pages = await self._keeper.store.read(find)
            except StoreError:
                return got, True
            if not pages:
                return got, missed
            whys = await asyncio.gather(*(self._try(each) for page in pages.values() for each in page))
            got, missed = got or not all(whys), missed or any(whys)
            if any(isinstance(why, StoreError) for why in whys):
                return got, True  # what comes now could not be kept
            self._after |= {name: page[-1].number for name, page in pages.items()}

    async def _try(self, lacking: Lacking) -> str | StoreError:
        try:
            return await self._get(lacking, self._places)
        except StoreError as error:
            return error

    async def _get(self, lacking: Lacking, places: asyncio.Semaphore) -> str:
        """Fetches a body once, whoever asks; why it did not come, empty when it did. Raises `StoreError`."""
        record = lacking.record.id
        if (other := self._under_way.get(record)) is not None:
            return await asyncio.shield(other)
        done = self._under_way[record] = asyncio.get_running_loop().create_future()
        why = "it was given up"
        try:
            async with places:
                why = await self._fetch(lacking, is_asked=places is self._places_of_asked)
        finally:
            del self._under_way[record]
            done.set_result(why)
        return why

    async def _fetch(self, lacking: Lacking, *, is_asked: bool) -> str:
        header, record = lacking.record.body, lacking.record.id
        assert header.body is not None  # noqa: S101 - what has none lacks none
        if declined := self._keeper.why_no_body(header):
            return declined
        why = "no peer is connected that may have it"
        for peer in self._sources(lacking):
            if peer in self._aside and not is_asked:
                continue
            began_s = self._now_s()
            try:
                body = await self._source.fetch_body(peer, record, header.body, header.size)
                decode_record_body(body, header)
            except Withheld as withheld:
                self._aside.add(peer)
                why = str(withheld)
            except Unobtainable as unobtainable:
                why = str(unobtainable)
            except Malformed as malformed:
                # No honest node keeps such a body, whatever its author signed.
                self._around.violation(peer, "malformed_record_body")
                self._aside.add(peer)
                why = malformed.reason
            else:
                kept = await self._keeper.embody([Arrived(lacking.record, body)])
                return "" if kept else self._keeper.why_no_body(header)
            finally:
                self._spent_s[peer] += 0.0 if is_asked else self._now_s() - began_s
                if self._spent_s[peer] > TURN_S:
                    self._aside.add(peer)
        return why

    def _sources(self, lacking: Lacking) -> list[str]:
        """Who may read it, and its author; whoever brought its log first, then its author; then all others, by turns.

        Whoever was put aside comes last.
        """
        header = lacking.record.body
        able = [
            peer
            for peer in self._peers(header.type)
            if peer == header.author or self._membership.may(peer, Action.READ, header.type).holds
        ]
        likely = [peer for peer in (self._bringers.get(header.log), header.author) if peer in able]
        others = [peer for peer in able if peer not in likely]
        begin = self._turn * (PEERS_A_BODY - 2) % len(others) if others else 0
        in_order = dict.fromkeys([*likely, *others[begin:], *others[:begin]])
        return sorted(in_order, key=self._aside.__contains__)[:PEERS_A_BODY]

    def _now_s(self) -> float:
        return self._around.clock.monotonic_s()
