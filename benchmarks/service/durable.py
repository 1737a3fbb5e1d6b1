"""Durable messages between two processes, each with a home on the benchmark's disk."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from benchmarks.service.figures import Figures, cpu_s, milliseconds_since, percentile, rss_mib
from benchmarks.service.node import Sample, new_service
from benchmarks.service.window import under_way
from covm.federation import FederationService, Message
from covm.federation.dispatch.transaction import Tx
from covm.federation.events import PeerConnected, PeerDisconnected

PATIENCE = timedelta(minutes=2)

CREATE = "CREATE TABLE effects (at_ns BIGINT NOT NULL, author TEXT NOT NULL)"
INSERT = "INSERT INTO effects (at_ns, author) VALUES (:at_ns, :author)"


@contextmanager
def new_home() -> Iterator[Path]:
    """A home that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="home-", dir=os.environ.get("BENCHMARK_FOLDER")) as place:
        yield Path(place)


def plain(_: Message[Sample]) -> None:
    """The least that a handler can do."""


def transactional(message: Message[Sample], tx: Tx) -> None:
    """One effect, in the transaction that ends the message."""
    tx.execute(INSERT, {"at_ns": message.payload.at_ns, "author": message.author})


async def serve(how: str) -> Figures:
    """Prints an address, takes what comes (`how`: none, plain or transactional), answers when its peer has gone."""
    with new_home() as home:
        async with new_service(home) as service:
            await subscribe(service, how)
            events = service.events()
            print(service.addresses[0], flush=True)
            spent_s, before = cpu_s(), transactions(service)
            async for event in events:
                if isinstance(event, PeerConnected):
                    spent_s, before = cpu_s(), transactions(service)
                elif isinstance(event, PeerDisconnected):
                    break
            taken = service.stats()["messages"]["direct"]["in"]["messages"]
            return {
                "received": taken,
                "taken_in_one": taken / max(transactions(service) - before, 1),
                "cpu_s": cpu_s() - spent_s,
                "rss_mib": rss_mib(),
            }


async def subscribe(service: FederationService, how: str) -> None:
    if how == "plain":
        service.subscribe(Sample, plain)
    elif how == "transactional":
        await service.transaction(lambda tx: tx.execute(CREATE))
        service.subscribe(Sample, transactional, transactional=True)


def transactions(service: FederationService) -> int:
    """How many the store has committed."""
    return int(service._node.store.stats()["transactions"])


async def send(address: str, messages: int, window: int, until: str) -> Figures:
    """Messages with at most `window` of them not known to be `until` (stored or handled)."""
    with new_home() as home:
        async with new_service(home) as service:
            peer = await service.connect_peer(address)
            latencies_ms: list[float] = []

            async def one() -> None:
                at_ns = time.perf_counter_ns()
                receipt = await service.send_direct(peer, Sample(at_ns))
                await (receipt.stored(PATIENCE) if until == "stored" else receipt.handled(PATIENCE))
                latencies_ms.append(milliseconds_since(at_ns))

            began_s, spent_s, before = time.perf_counter(), cpu_s(), transactions(service)
            await under_way(window, messages, one)
            elapsed_s = time.perf_counter() - began_s
            return {
                "per_s": messages / elapsed_s,
                "p50_ms": percentile(latencies_ms, 0.5),
                "p99_ms": percentile(latencies_ms, 0.99),
                "sent_in_one": messages / max(transactions(service) - before, 1),
                "cpu_s": cpu_s() - spent_s,
                "rss_mib": rss_mib(),
            }
