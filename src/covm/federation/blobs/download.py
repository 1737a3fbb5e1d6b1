"""Receiving one file: chunk after chunk, each verified before it is written, a few asked for ahead.

What is verified goes to the partial file; from time to time that is synced and, only then, recorded as done. So a
crash of either side costs at most the last eight MiB or five seconds, and memory holds a few chunks whatever the size.
Files take turns, so a sender that is slow on purpose holds up no others; one that is away takes none.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from covm import _native
from covm.federation.blobs.chunks import FANOUT, LEAF_BYTES, Place, Shape, checked_node
from covm.federation.blobs.fetching import Fetcher, Interrupted, Unheld
from covm.federation.blobs.partial import Partial
from covm.federation.blobs.reach import Reach
from covm.federation.supervisor import is_cancelled
from covm.federation.surroundings import Surroundings
from covm.federation.wire.malformed import Malformed

T = TypeVar("T")

AHEAD: Final = 4
"""Leaves asked for before the last one came: half of what one peer is asked for at once."""

MAX_WRONG: Final = 3
"""Chunks that are not what they should be, before a sender is not believed any more: disks fail too, once."""

MAX_UNHELD: Final = 10
"""Times that a sender may say that it does not have its own file: it may just have started."""

CHECKPOINT_BYTES: Final = 8 * 1024 * 1024
CHECKPOINT_S: Final = 5.0
"""How often what came is synced and recorded: by bytes on a fast link, by time on a slow one."""

FIRST_PAUSE_S: Final = 0.5
LAST_PAUSE_S: Final = 60.0
"""Pauses between attempts that brought nothing: they double."""

TURN_S: Final = 60.0
"""How long a file is received before another that waits has its turn: twice what one frame may take."""

PATIENCE: Final = timedelta(days=7)
"""How long nothing may come before it is given up: as long as a message is tried."""

LEAST_PATIENCE: Final = timedelta(days=1)
"""What is left of it after a restart at least, whatever the clock says of the time between."""

NO_ROOM: Final = "there is no room for it there"

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Hopeless(Exception):
    """The file will not arrive; the reason is for people on both sides."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Download:
    """One run of it, from what is there to the end. `advanced` hears of every leaf, `record` of what is on disk."""

    def __init__(
        self,
        *,
        peer: str,
        root: _native.Link,
        shape: Shape,
        partial: Partial,
        around: Surroundings,
        reach: Reach,
        turns: asyncio.Semaphore,
        advanced: Callable[[int], None],
        record: Callable[[int], Awaitable[None]],
    ) -> None:
        self._peer = peer
        self._root = root
        self._shape = shape
        self._partial = partial
        self._around = around
        self._reach = reach
        self._turns = turns
        self._advanced = advanced
        self._record = record
        self._count = shape.counts[0]
        self._next = 0
        self._nodes: dict[int, tuple[int, list[_native.Link]]] = {}
        self._wrong = 0
        self._unheld = 0
        self._recorded_leaf = 0
        self._recorded_s = 0.0

    async def run(self, done_bytes: int, silent: timedelta) -> None:
        """Fetches what is missing behind `done_bytes`; nothing had come for `silent`. Raises `Hopeless`."""
        self._recorded(self._leaves_in(done_bytes))
        deadline_s = self._now_s() + max(PATIENCE - silent, LEAST_PATIENCE).total_seconds()
        pause_s = FIRST_PAUSE_S
        while self._next < self._count:
            before = self._next
            try:
                await self._reach.reached(self._peer, max(0.0, deadline_s - self._now_s()))
                async with self._turns:
                    await self._turn()
            except TimeoutError:
                raise Hopeless(f"nothing of it came for {PATIENCE.days} days") from None
            except Interrupted:
                pass
            except Unheld as unheld:
                self._judge(unheld)
            if self._next > before:
                deadline_s = self._now_s() + PATIENCE.total_seconds()
                pause_s = FIRST_PAUSE_S
                self._unheld = 0
            elif self._next < self._count:
                await asyncio.sleep(self._around.random.uniform(pause_s / 2, pause_s))
                pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _turn(self) -> None:
        """Fetches for a while, if the peer is still there; what came is on disk and recorded at the end."""
        fetcher = self._reach.fetcher(self._peer)
        if fetcher is None:
            return
        try:
            there = await self._on_disk(lambda: self._partial.open(self._bytes_in(self._next)))
            self._recorded(self._leaves_in(there))
            self._advanced(there)
            try:
                async with asyncio.timeout(TURN_S):
                    await self._fetch_from(fetcher)
            except TimeoutError:
                raise Interrupted("its turn is over") from None
            finally:
                if not is_cancelled():
                    await self._checkpoint()
        finally:
            self._partial.close()

    async def _fetch_from(self, fetcher: Fetcher) -> None:
        ahead: deque[asyncio.Future[bytes]] = deque()
        try:
            while self._next < self._count:
                while len(ahead) < AHEAD and (position := self._next + len(ahead)) < self._count:
                    ahead.append(fetcher.ask(self._root, Place(0, position)))
                link = await self._link_to(fetcher, Place(0, self._next))
                data = await ahead.popleft()
                if await self._put(data, link):
                    self._next += 1
                    self._advanced(self._bytes_in(self._next))
                    await self._checkpoint_if_due()
                else:
                    self._blame()
                    ahead.appendleft(fetcher.ask(self._root, Place(0, self._next)))
        finally:
            for answer in ahead:
                answer.cancel()

    def _leaves_in(self, done_bytes: int) -> int:
        return self._count if 0 < self._shape.size <= done_bytes else done_bytes // LEAF_BYTES

    def _bytes_in(self, leaves: int) -> int:
        return min(leaves * LEAF_BYTES, self._shape.size)

    def _recorded(self, leaves: int) -> None:
        """So many are on disk, and whoever restarts knows it."""
        self._next = self._recorded_leaf = leaves
        self._recorded_s = self._now_s()

    async def _link_to(self, fetcher: Fetcher, place: Place) -> _native.Link:
        """The id of a chunk, from the node above it; the last node of each level is held."""
        if place == self._shape.root:
            return self._root
        above = Place(place.level + 1, place.position // FANOUT)
        held = self._nodes.get(above.level)
        if held is None or held[0] != above.position:
            held = above.position, await self._node(fetcher, above)
            self._nodes[above.level] = held
        return held[1][place.position % FANOUT]

    async def _node(self, fetcher: Fetcher, place: Place) -> list[_native.Link]:
        link = await self._link_to(fetcher, place)
        while True:
            data = await fetcher.ask(self._root, place)
            try:
                return checked_node(data, self._shape, place, link)
            except Malformed:
                self._blame()

    async def _put(self, data: bytes, link: _native.Link) -> bool:
        position = self._next
        return await self._on_disk(lambda: self._partial.put(position, data, link))

    def _blame(self) -> None:
        self._around.violation(self._peer, "wrong_chunk")
        self._wrong += 1
        if self._wrong >= MAX_WRONG:
            raise Hopeless("its sender sent chunks that are not of the file")

    def _judge(self, unheld: Unheld) -> None:
        self._unheld += 1
        if unheld.final:
            raise Hopeless(unheld.reason or "its sender no longer has it")
        if self._unheld >= MAX_UNHELD:
            raise Hopeless("its sender no longer knows of it")

    async def _checkpoint_if_due(self) -> None:
        behind_bytes = (self._next - self._recorded_leaf) * LEAF_BYTES
        if behind_bytes >= CHECKPOINT_BYTES or self._now_s() - self._recorded_s >= CHECKPOINT_S:
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        if self._next == self._recorded_leaf:
            return
        leaves = self._next
        await self._on_disk(self._partial.sync)
        await self._record(self._bytes_in(leaves))
        self._recorded_leaf, self._recorded_s = leaves, self._now_s()

    async def _on_disk(self, call: Callable[[], T]) -> T:
        try:
            return await self._around.offload.run(call)
        except OSError as error:
            raise hopeless(error) from error

    def _now_s(self) -> float:
        return self._around.clock.monotonic_s()


def hopeless(error: OSError) -> Hopeless:
    """What the sender learns of a disk that does not take the file: no paths of ours."""
    if error.errno in _FULL:
        return Hopeless(NO_ROOM)
    return Hopeless(f"it cannot be written there: {error.strerror or type(error).__name__}")
