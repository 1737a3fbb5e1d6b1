"""What it costs to bring replicas together: a first sync, and a few records among many. Both ends in one process."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.service.figures import Figures, percentile, rss_mib
from benchmarks.service.node import connect_both, new_service
from covm import _native
from covm.federation import FederationService
from covm.federation.network.interface import FramesReceived
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import Auth, Hlc, RecordHeader, encode_record, encode_record_body

TYPE = "benchmark.note"
BATCH = 2048
VALUE = "x" * 100
PATIENCE_S = 1_700.0


class Authors:
    """So many authors; records are signed by each in turn, in runs of its log."""

    def __init__(self, federation: _native.Link, count: int) -> None:
        self._auth = Auth(federation, federation)
        self._federation = federation
        self._keys = [_native.Keypair.generate() for _ in range(count)]
        self._lives = [Incarnation(1, number.to_bytes(8, "big")) for number in range(count)]
        self._ends: list[tuple[int, _native.Link | None]] = [(0, None)] * count
        self.size_bytes = 0

    def write(self, author: int, count: int) -> tuple[list[bytes], list[bytes]]:
        """Envelopes and bodies of that many more records of an author."""
        seq, prev = self._ends[author]
        headers: list[bytes] = []
        bodies: list[bytes] = []
        for _ in range(count):
            body = encode_record_body(seq.to_bytes(16, "big"), VALUE)
            header = RecordHeader(
                federation=self._federation,
                type=TYPE,
                key=f"{author}/{seq}",
                author=self._keys[author].peer_id,
                incarnation=self._lives[author],
                seq=seq + 1,
                prev=prev,
                parents=(),
                auth=self._auth,
                hlc=Hlc(1_700_000_000_000 + seq, 0),
                op="put",
                body=_native.cid(body),
                size=len(body),
                target=None,
            )
            headers.append(encode_record(header))
            bodies.append(body)
            seq, prev = seq + 1, _native.cid(headers[-1])
        self._ends[author] = (seq, prev)
        envelopes = self._keys[author].seal("/covm/record", headers)
        self.size_bytes += sum(map(len, envelopes)) + sum(map(len, bodies))
        return envelopes, bodies


async def first(count: int, authors: int) -> Figures:
    """A node without anything meets one that has so many records."""
    with tempfile.TemporaryDirectory() as folder:
        async with new_service(Path(folder) / "near") as near, new_service(Path(folder) / "far") as far:
            await _fill([near], Authors(near.federation_id.cid, authors), count, authors)
            before_mib, began_s = rss_mib(), time.perf_counter()
            await connect_both(near, far)
            await _equal(near, far)
            took_s = time.perf_counter() - began_s
            return {"per_s": count / took_s, "took_s": took_s, "grown_mib": rss_mib() - before_mib}


async def missing(count: int, authors: int, lacking: int) -> Figures:
    """Two nodes have the same; one of them gets some more, each of another author, while they are apart."""
    with tempfile.TemporaryDirectory() as folder:
        async with new_service(Path(folder) / "near") as near, new_service(Path(folder) / "far") as far:
            writers = Authors(near.federation_id.cid, authors)
            await _fill([near, far], writers, count, authors)
            writers.size_bytes = 0
            await _fill([near], writers, lacking, min(authors, lacking) or 1)
            counted = Counted(far)
            began_s = time.perf_counter()
            await connect_both(near, far)
            await _equal(near, far)
            return {
                "took_ms": (time.perf_counter() - began_s) * 1000,
                "questions": counted.questions,
                "overhead_bytes": counted.size_bytes - writers.size_bytes,
            }


async def written(count: int, window: int) -> Figures:
    """Writes of a program, so many waiting at a time; and until a handler on another node hears of one, when idle."""
    with tempfile.TemporaryDirectory() as folder:
        async with new_service(Path(folder) / "near") as near, new_service(Path(folder) / "far") as far:
            notes = near.collection(TYPE)
            began_s = time.perf_counter()
            for start in range(0, count, window):
                await asyncio.gather(*(notes.put(f"{number}", VALUE) for number in range(start, start + window)))
            per_s = count / (time.perf_counter() - began_s)
            await connect_both(near, far)
            await _equal(near, far)
            changes = far.collection(TYPE).changes(after=count)
            times_ms: list[float] = []
            for number in range(100):
                began_s = time.perf_counter()
                heard = asyncio.ensure_future(anext(changes))
                await notes.put(f"late {number}", VALUE)
                await heard
                times_ms.append((time.perf_counter() - began_s) * 1000)
            return {"per_s": per_s, "p50_ms": percentile(times_ms, 0.5), "p99_ms": percentile(times_ms, 0.99)}


class Counted:
    """What travels on a node's own sync streams, in both directions."""

    def __init__(self, service: FederationService) -> None:
        self.size_bytes = 0
        self.questions = 0
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


async def _fill(services: Sequence[FederationService], writers: Authors, count: int, authors: int) -> None:
    for author in range(authors):
        left = count // authors + (author < count % authors)
        while left:
            envelopes, bodies = writers.write(author, min(left, BATCH))
            for service in services:
                await service._node.sync.keeper.take(envelopes, bodies)
            left -= len(envelopes)


async def _equal(near: FederationService, far: FederationService) -> None:
    came = asyncio.Event()
    listeners = far._node.sync.keeper.listeners
    listeners.append(lambda _taken: came.set())
    async with asyncio.timeout(PATIENCE_S):
        while _root(near) != _root(far):
            came.clear()
            await came.wait()
    del listeners[-1]


def _root(service: FederationService) -> bytes:
    return service._node.sync.keeper.logs.frontier(TYPE).root
