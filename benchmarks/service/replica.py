"""A node that is one of two: it takes lines, and tells what it took to bring it where the other is.

replica HOME        prints its address, takes `COUNT [ADDRESS]`: dials that, if one is given, and prints its figures
                    once it holds so many records; ends with its standard input
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from benchmarks.service.figures import Figures, cpu_s, rss_mib
from benchmarks.service.lives import answer, told
from benchmarks.service.node import new_service
from covm.federation import FederationService
from covm.federation.network.interface import FramesReceived
from covm.federation.sync.taken import Taken

PATIENCE_S = 1_700.0

QUIET_S = 0.3
"""What the two still say to each other when both have all is counted too."""

MEMORY_EVERY_S = 0.05


async def replica(home: str) -> Figures:
    """Until standard input ends."""
    async with new_service(Path(home)) as service:
        held = Held([service])
        answer({"address": service.addresses[0], "records": held.count})
        while words := (await told()).split():
            counted, spent_s = Counted(service), cpu_s()
            async with Memory(held) as memory:
                began_ns = time.perf_counter_ns()
                if words[1:]:
                    await service.connect_peer(words[1])
                await held.until(int(words[0]))
                done_ns = time.perf_counter_ns()
            await asyncio.sleep(QUIET_S)
            answer(
                {
                    "began_ns": began_ns,
                    "done_ns": done_ns,
                    "cpu_s": cpu_s() - spent_s,
                    "questions": counted.questions,
                    "size_bytes": counted.size_bytes,
                    **memory.figures(),
                }
            )
    return {}


class Held:
    """How many records nodes hold, together."""

    def __init__(self, services: Sequence[FederationService]) -> None:
        self.count = 0
        self._came = asyncio.Event()
        for service in services:
            keeper = service._node.sync.keeper
            self.count += sum(seq for log in keeper.logs if (end := log.last()) for seq in [end[0].seq])
            keeper.listeners.append(self._kept)

    async def until(self, count: int) -> None:
        """Returns once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while self.count < count:
                self._came.clear()
                await self._came.wait()

    def _kept(self, taken: Taken) -> None:
        self.count += taken.placed
        self._came.set()


class Counted:
    """What travels on a node's own sync stream, in both directions: what it asks, and what it is answered and told."""

    def __init__(self, service: FederationService) -> None:
        self.size_bytes = 0
        self.questions = -1
        """HELLO is none."""
        streams, network = service._node.sync.streams, service._node.network
        send, heard = network.try_send, streams.on_frames

        def try_send(stream: int, frames: Sequence[bytes]) -> bool:
            is_sent = send(stream, frames)
            if is_sent and stream in streams._streams:
                self.size_bytes += sum(map(len, frames))
                self.questions += 1
            return is_sent

        def on_frames(event: FramesReceived) -> None:
            if event.stream in streams._streams:
                self.size_bytes += sum(map(len, event.frames))
            heard(event)

        network.try_send = try_send  # type: ignore[method-assign]
        streams.on_frames = on_frames  # type: ignore[method-assign]


class Seen(NamedTuple):
    """Records and memory at one time."""

    records: int
    rss_mib: float


class Memory:
    """Looks at this process's memory while something comes."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._seen = [Seen(held.count, rss_mib())]
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._seen.append(Seen(self._held.count, rss_mib()))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_EVERY_S)
            self._seen.append(Seen(self._held.count, rss_mib()))

    def figures(self) -> Figures:
        """At the beginning, at a tenth of what came, at the end, and the most; what it grew behind the tenth."""
        first, last = self._seen[0], self._seen[-1]
        tenth = next(each for each in self._seen if each.records >= first.records + (last.records - first.records) / 10)
        return {
            "rss_began_mib": first.rss_mib,
            "rss_tenth_mib": tenth.rss_mib,
            "rss_mib": last.rss_mib,
            "rss_most_mib": max(each.rss_mib for each in self._seen),
            "grown_mib": last.rss_mib - tenth.rss_mib,
        }
