"""The outbox's jobs on every engine: a sender's whole life, told once for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.store.places import Place

from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.clock import SeededRandom, SystemClock
from covm.federation.dispatch import upkeep_jobs
from covm.federation.errors import MessageExpired
from covm.federation.network.simulated import SimulatedFabric
from covm.federation.store.interface import Store
from covm.testing import until

NOTE = "private.note"
PATIENCE = timedelta(seconds=30)


class AheadClock(SystemClock):
    """The machine's time, and as much more as a test lets pass at once."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + int(self.ahead_s * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


@asynccontextmanager
async def node(fabric: SimulatedFabric, name: str, **given: Any) -> AsyncIterator[FederationService]:
    identity = Identity.from_seed(name.encode().ljust(32, b"."))
    config = FederationConfig.preset("local", membership="open", name=name)
    network = fabric.network(identity.keypair, listen=["/ip4/127.0.0.1/tcp/0"], max_connections=50)
    async with FederationService(identity, config, network=network, **given) as service:
        yield service


async def connect(one: FederationService, other: FederationService) -> None:
    await one.connect_peer(other.addresses[0])
    await until(
        lambda: other.peer_id in one.connected_peers() and one.peer_id in other.connected_peers(), timeout=PATIENCE
    )


async def test_messages_are_sent_settled_cancelled_expired_and_tried_again(place: Place) -> None:
    fabric, clock = SimulatedFabric(random=SeededRandom(1)), AheadClock()
    async with node(fabric, "ben") as ben, node(fabric, "ada", store=place.store(), clock=clock) as ada:
        got: list[Any] = []
        ben.subscribe(NOTE, lambda message: got.append(message.payload))
        await connect(ada, ben)
        to, desk = ben.peer_id, ada.outbox
        for receipt in await asyncio.gather(*(ada.send_direct(to, NOTE, each) for each in range(300))):
            await receipt.handled(PATIENCE)
        fabric.cut(ada.peer_id, to)
        short = await ada.send_direct(to, NOTE, "short", time_to_live=timedelta(seconds=100))
        cancelled = await ada.send_direct(to, NOTE, "cancelled")
        long = await ada.send_direct(to, NOTE, "long")
        assert (await desk.cancel(cancelled.id)).state == "cancelled"
        clock.ahead_s += 200
        with pytest.raises(MessageExpired):
            await short.stored(PATIENCE)
        fabric.heal()
        await long.handled(PATIENCE)
        await (await desk.retry(cancelled.id)).handled(PATIENCE)
        assert got == [*range(300), "long", "cancelled"]
        assert {each.id for each in await desk.listed(state="expired")} == {short.id}
        assert (await desk.show(long.id[:16])).id == long.id
        assert len(await desk.listed(peer=to, limit=1_000)) == 303


async def test_what_is_sent_outlives_a_restart(place: Place) -> None:
    fabric = SimulatedFabric(random=SeededRandom(1))
    async with node(fabric, "ben") as ben:
        got: list[Any] = []
        ben.subscribe(NOTE, lambda message: got.append(message.payload))
        async with node(fabric, "ada", store=place.store()) as ada:
            await connect(ada, ben)
            fabric.cut(ada.peer_id, ben.peer_id)
            receipts = await asyncio.gather(*(ada.send_direct(ben.peer_id, NOTE, each) for each in range(600)))
        fabric.heal()
        async with node(fabric, "ada", store=place.store()) as ada:
            assert ada.stats()["queues"]["outbox"]["messages"] == 600
            again = [await ada.receipt(receipt.id) for receipt in receipts[::100]]
            await connect(ada, ben)
            for receipt in again:
                await receipt.handled(PATIENCE)
            await until(lambda: len(got) == 600, timeout=PATIENCE)
        assert got == list(range(600))


async def test_the_statements_of_upkeep_run_on_every_engine(store: Store) -> None:
    def job(tx: Any) -> None:
        assert upkeep_jobs.soonest_expiry(tx, 0) is None
        assert upkeep_jobs.due(tx, 1) == []
        upkeep_jobs.settle_rows(tx, [1, 2], 4, 1, "over")
        upkeep_jobs.release(tx, 1, 0, 5)
        upkeep_jobs.shed(tx, 1, 5, 10, 20)
        assert upkeep_jobs.first_seq(tx, 1) is None
        upkeep_jobs.prune_line(tx, 1, 0, 5)
        assert upkeep_jobs.prune_by_age(tx, 1, 1) == 0
        upkeep_jobs.prune_lines(tx, 1, b"nonce")
        upkeep_jobs.close_line(tx, 1)
        assert upkeep_jobs.unsettled(tx, 1, 5) == 0
        assert upkeep_jobs.given_back(tx) == []

    await store.write(job)
