"""`Bodies`: fetches the bodies of records that came without; those above 64 KiB do not travel beside their headers.

    lacking, from the store ──> peers that may read the type, one after the other ──verified chunks──> Keeper.embody

What is lacking stands in the store, so a restart goes on where the last run ended. It is gone through in rounds, in the
order of judgements: what comes new at once, all of it again after pauses that double. Types whose bodies are wanted on
demand are left out until somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from covm import _native
from covm.federation.errors import BodyUnavailable, FederationError, NotStarted, StoreError
from covm.federation.identity.roles import Action
from covm.federation.ports import BodySource, Membership, Unobtainable, Withheld
from covm.federation.surroundings import Surroundings
from covm.federation.sync import body_rows
from covm.federation.sync.body_rows import Lacking
from covm.federation.sync.keeper import Keeper, Taken
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import decode_record_body

AT_ONCE: Final = 4
"""Bodies under way in rounds, 4 MiB; as many more may be that somebody asked for."""

PAGE: Final = 32
"""Records that are looked up at once."""

PEERS_A_BODY: Final = 8
"""Peers asked for one body in a round."""

FIRST_PAUSE_S: Final = 5.0
LAST_PAUSE_S: Final = 600.0
"""Between rounds in which something was not to be had: they double while nothing comes."""

MAX_ASKED: Final = 256
"""Bodies that programs looked for and that wait to be fetched: what is beyond is fetched when looked for again."""

MAX_BRINGERS: Final = 4096
"""Logs of which it is remembered who brought them: who has the headers should have the bodies."""


class Bodies:
    """The shell; it is a `ports.BodyShelf`."""

    def __init__(
        self, around: Surroundings, keeper: Keeper, membership: Membership, on_demand: Callable[[], Sequence[str]]
    ) -> None:
        self._around = around
        self._keeper = keeper
        self._membership = membership
        self._on_demand = on_demand
        self._source: BodySource | None = None
        self._peers: Callable[[], Iterable[str]] = tuple
        self._bringers: OrderedDict[_native.Link, str] = OrderedDict()
        self._under_way: dict[_native.Link, asyncio.Future[str]] = {}
        self._asked: set[_native.Link] = set()
        self._places, self._places_of_asked = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._aside: set[str] = set()
        """Peers that withheld or lied: not asked again in this round."""
        self._after = 0
        self._is_anew = True
        self._wake = asyncio.Event()
        keeper.listeners.append(self._kept)

    def meet(self, source: BodySource, peers: Callable[[], Iterable[str]]) -> None:
        """By what bodies are fetched, and the peers that may be asked."""
        self._source = source
        self._peers = peers

    def brought(self, peer: str, logs: Iterable[_native.Link]) -> None:
        """A peer has brought records of these logs."""
        for log in logs:
            self._bringers[log] = peer
            self._bringers.move_to_end(log)
        while len(self._bringers) > MAX_BRINGERS:
            self._bringers.popitem(last=False)

    def anew(self) -> None:
        """What was not to be had may be now: somebody has come."""
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
        """Returns once the body of a record is here. Raises `BodyUnavailable`, `StoreError`."""
        lacking = await self._keeper.store.read(lambda tx: body_rows.lacks(tx, record))
        if lacking is not None and (why := await self._get(lacking, self._places_of_asked)):
            raise BodyUnavailable(lacking.record.body.type, lacking.record.body.key, why)

    async def run(self) -> None:
        """Goes through what is lacking, without an end."""
        is_left, pause_s, again_s = False, FIRST_PAUSE_S, 0.0
        while True:
            self._wake.clear()
            if is_whole := self._is_anew:
                self._is_anew, is_left, self._after = False, False, 0
                self._aside.clear()
            got, missed = await self._round()
            is_left |= missed
            if is_whole or got:
                pause_s = FIRST_PAUSE_S if got or not is_left else min(2 * pause_s, LAST_PAUSE_S)
                again_s = self._now_s() + pause_s
            try:
                async with asyncio.timeout(max(0.0, again_s - self._now_s()) if is_left else None):
                    await self._wake.wait()
            except TimeoutError:
                self._is_anew = True

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
        """Fetches what is lacking behind the last one looked at; whether something came, and whether some did not."""
        got = missed = False
        while True:
            after, left_out = self._after, self._on_demand()
            try:
                page = await self._keeper.store.read(lambda tx: body_rows.lacking(tx, after, PAGE, left_out))  # noqa: B023
            except StoreError:
                return got, True
            whys = await asyncio.gather(*(self._try(each) for each in page))
            got, missed = got or not all(whys), missed or any(whys)
            if page:
                self._after = page[-1].number
            if len(page) < PAGE:
                return got, missed

    async def _try(self, lacking: Lacking) -> str:
        try:
            return await self._get(lacking, self._places)
        except StoreError as error:
            return str(error)

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
        header, record, source = lacking.record.body, lacking.record.id, self._source
        assert header.body is not None  # noqa: S101 - a put has one
        if source is None:
            return "there is nobody to ask"
        why = "no peer is connected that may have it"
        for peer in self._sources(lacking):
            if peer in self._aside and not is_asked:
                continue
            try:
                body = await source.fetch_body(peer, record, header.body, header.size)
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
                await self._keeper.embody(lacking.record, body)
                return ""
        return why

    def _sources(self, lacking: Lacking) -> list[str]:
        """Who may read it, whoever brought its log first, then its author."""
        header = lacking.record.body
        connected = list(self._peers())
        likely = [peer for peer in (self._bringers.get(header.log), header.author) if peer in connected]
        all_of = list(dict.fromkeys([*likely, *connected]))
        return [peer for peer in all_of if self._membership.may(peer, Action.READ, header.type).holds][:PEERS_A_BODY]

    def _now_s(self) -> float:
        return self._around.clock.monotonic_s()
