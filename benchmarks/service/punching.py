"""Two nodes behind two routers and a public one, in namespaces (as root): how often and how soon they get through.

punch TRANSLATION TRANSPORT RUNS     `plain` keeps a port for all destinations, `random` draws one for each; tcp or quic
house TRANSPORT PORT [ADDRESS]       one of the nodes; the public one without an address
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack

from tests.namespaces import PUBLIC_IP, Internet, internet

from benchmarks.service.durable import PATIENCE
from benchmarks.service.figures import Figures, percentile
from benchmarks.service.lives import answer, finish, life, say, told, told_by
from benchmarks.service.node import NETWORK, Sample
from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.reachability import Punch
from covm.testing import until

TRANSLATIONS = {"plain": "masquerade", "random": "masquerade random"}
LISTEN = {"tcp": "/ip4/0.0.0.0/tcp/{}", "quic": "/ip4/0.0.0.0/udp/{}/quic-v1"}
PORT = 9000


async def punch(translation: str, transport: str, runs: int) -> Figures:
    """Every run has two new nodes: new keys, and a new port, so that no router remembers anything of them."""
    times_ms: list[float] = []
    with ExitStack() as stack:
        net = stack.enter_context(internet(TRANSLATIONS[translation]))
        square = stack.enter_context(life("house", transport, str(PORT), inside=net.public))
        listens = LISTEN[transport].format(PORT)
        there = f"{listens.replace('0.0.0.0', PUBLIC_IP)}/p2p/{told_by(square)['peer']}"
        for port in range(PORT + 1, PORT + 1 + runs):
            took_ms = await asyncio.to_thread(_attempt, net, transport, port, there)
            if took_ms is not None:
                times_ms.append(took_ms)
        finish(square)
    return {
        "punched": len(times_ms),
        "relayed": runs - len(times_ms),
        "p50_ms": percentile(times_ms, 0.5),
        "max_ms": max(times_ms, default=0.0),
    }


def _attempt(net: Internet, transport: str, port: int, public: str) -> float | None:
    """How long it took from the dial to the direct connection; None where it stays relayed, and says why."""
    with ExitStack() as stack:
        mill, farm = (
            stack.enter_context(life("house", transport, str(port), public, inside=home)) for home in net.homes
        )
        through = told_by(mill)["through"]
        told_by(farm)
        say(farm, through)
        said = told_by(farm)
        finish(farm)
        finish(mill)
    if said["worked"]:
        return float(said["took_ms"])
    print(f"stays relayed: {said['why']}", file=sys.stderr)
    return None


async def house(transport: str, port: str, public: str = "") -> Figures:
    """Says its peer id, or where it is reached through the relay; dials where it is told, and says what came of it."""
    config = FederationConfig(
        membership="open",
        network=NETWORK,
        enable_mdns=False,
        listen_addresses=[LISTEN[transport].format(port)],
        bootstrap_peers=[public] if public else [],
        reachability="private" if public else "public",
    )
    async with FederationService(Identity.generate(), config, types=[Sample]) as service:
        if public:
            relay = public.rpartition("/")[2]
            await until(
                lambda: "/p2p-circuit/" in service.reachable_at[0] and relay in service.connected_peers(),
                timeout=PATIENCE,
            )
            answer({"through": service.reachable_at[0]})
        else:
            answer({"peer": service.peer_id})
        while through := await told():
            began_s = time.perf_counter()
            peer = await service.connect_peer(through)
            found = await _punch(service, peer)
            answer({"worked": found.worked, "why": found.why, "took_ms": (time.perf_counter() - began_s) * 1000})
    return {}


async def _punch(service: FederationService, peer: str) -> Punch:
    def of_peer() -> list[Punch]:
        return [each for each in service.reachability.punches if each.peer == peer]

    await until(of_peer, timeout=PATIENCE)
    return of_peer()[0]
