"""Strangers that connect again and again while a federation of ten gossips.

strangers NODES MESSAGES RATE COUNT     the gossip alone, then while `COUNT` strangers connect
knock COUNT ADDRESS...                  the strangers, on one core: each has a key of its own and comes once
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence

from benchmarks.service.figures import Figures, percentile
from benchmarks.service.gossip import MESH_S, Tally, publish, wire_up
from benchmarks.service.lives import answer, life, say, told, told_by
from benchmarks.service.node import NETWORK, Sample, new_service
from covm import _native
from covm.federation import FederationService
from covm.federation.errors import FederationError
from covm.federation.network import interface as net
from covm.federation.network.libp2p import Libp2pNetwork
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.join import JoinHello, encode_join_hello

AT_ONCE = 200
"""Strangers that knock at a time: more than ten nodes talk with, which is 16 each."""

ROUND_S = 1
"""How long publications are counted before it is looked again whether strangers still knock."""

LAST_S = 30.0

STAY_S = 20.0
"""A stranger that nobody sends away leaves by itself."""


async def strangers(nodes: int, messages: int, per_s: int, count: int) -> Figures:
    """Each publication is counted at every other node; the two halves have the same topology and pace."""
    async with contextlib.AsyncExitStack() as stack:
        services = [await stack.enter_async_context(new_service()) for _ in range(nodes)]
        await wire_up(services)
        await asyncio.sleep(MESH_S)
        alone = await _gossip(services, messages, per_s)
        with life("knock", str(count), *(service.addresses[0] for service in services)) as attackers:
            told_by(attackers)
            say(attackers, "go")
            knocking = asyncio.create_task(asyncio.to_thread(told_by, attackers))
            beside: list[Tally] = []
            while not knocking.done():
                beside.append(await _gossip(services, per_s * ROUND_S, per_s))
            knocked = knocking.result()
    late_ms = [latency_ms for tally in beside for latency_ms in tally.latencies_ms]
    expected = sum(tally.expected for tally in beside)
    before, after = percentile(alone.latencies_ms, 0.99), percentile(late_ms, 0.99)
    return {
        "connected": knocked["connected"],
        "delivered_percent": 100 * len(late_ms) / expected,
        "alone_p99_ms": before,
        "p50_ms": percentile(late_ms, 0.5),
        "p99_ms": after,
        "p99_times": after / before,
    }


async def _gossip(services: Sequence[FederationService], messages: int, per_s: int) -> Tally:
    tally = Tally(messages * (len(services) - 1))
    subscriptions = [(service, service.subscribe(Sample, tally.take)) for service in services]
    await publish(list(services), messages, per_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_S):
            await tally.complete.wait()
    for service, subscription in subscriptions:
        service.unsubscribe(subscription)
    return tally


async def knock(count: int, *addresses: str) -> Figures:
    """Half of them say the HELLO of another federation; the others say the right one, and never answer the node's."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    answer({"ready": 1})
    await told()
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> bool:
        async with places:
            return await _Stranger(is_mute=number % 2 == 1).come(addresses[number % len(addresses)])

    return {"connected": sum(await asyncio.gather(*(one(number) for number in range(count))))}


class _Stranger:
    def __init__(self, *, is_mute: bool) -> None:
        self._network = Libp2pNetwork(_native.Keypair.generate(), listen=[], agent="stranger", reachability="private")
        self._is_mute = is_mute
        self._gone = asyncio.Event()

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        for event in events:
            if isinstance(event, net.HelloReceived) and not self._is_mute:
                self._network.admit(event.connection)
            elif isinstance(event, net.ConnectionClosed):
                self._gone.set()

    async def come(self, address: str) -> bool:
        """Connects and stays until it is sent away; whether it came as far as that."""
        _, peer = _native.parse_multiaddr(address)
        place = address.rpartition("/p2p/")[0]
        federation = open_federation(NETWORK if self._is_mute else "elsewhere")
        hello = encode_join_hello(JoinHello(federation=federation.cid))
        await self._network.start(self, hello)
        try:
            await self._network.dial(peer, [place])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STAY_S):
                    await self._gone.wait()
        except FederationError:
            return False
        finally:
            await self._network.stop()
        return True
