"""What membership costs: to verify all of it, to ask it, and until a removal takes effect everywhere."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from benchmarks.service.figures import Figures, percentile, rss_mib
from benchmarks.service.valley import CLOCK, Valley, node_keys
from covm import _native
from covm.federation import Identity
from covm.federation.counters import Counters
from covm.federation.events import EventHub
from covm.federation.identity.credentials import Admission, Removal, TypeCredential
from covm.federation.identity.roles import Action
from covm.federation.membership import tables
from covm.federation.membership.aside import Item
from covm.federation.membership.ledger import Ledger, give_of, opened_items
from covm.federation.membership.members import Members
from covm.federation.network.simulated import LinkFaults
from covm.federation.offload import ThreadOffload
from covm.federation.store import make_store
from covm.federation.store.interface import Store
from covm.federation.supervisor import Supervisor
from covm.federation.wire.kinds import Kind
from covm.federation.wire.record import RecordHeader
from covm.testing.machine import Machine
from covm.testing.world import World

TYPE = "notes.note"

FOUNDERS = 3

LATENCY = timedelta(milliseconds=20)
"""Of every packet one way, and up to as much again."""

PATIENCE = timedelta(minutes=5)


async def verify(members: int, entries: int) -> Figures:
    """From envelopes to who is a member, and from what is on disk; beside it, the signatures alone."""
    valley = Valley(node_keys(members), FOUNDERS, entries)
    give = give_of(valley.items)
    by_kind = _by_kind(valley.items)
    signatures_s = _took(lambda: [_native.open_envelopes(kind, each) for kind, each in by_kind.items()])
    before_mib = rss_mib()
    began_s = time.perf_counter()
    items = opened_items(give)
    opened_s = time.perf_counter() - began_s
    ledger = Ledger(valley.charter)
    ledger.take(items)  # type: ignore[arg-type]
    assert ledger.standing is not None
    cold_s = time.perf_counter() - began_s
    held_mib = rss_mib() - before_mib
    store = make_store(None, "")
    await store.open()
    await store.write(partial(tables.save_founded, charter=valley.charter, entries=valley.items, own=valley.members[0]))
    began_s = time.perf_counter()
    loaded = await _loaded(valley, store)
    load_s = time.perf_counter() - began_s
    assert loaded.digest == ledger.digest
    await store.close()
    return {
        "items": len(items),
        "signatures_s": signatures_s,
        "opened_s": opened_s,
        "cold_s": cold_s,
        "load_s": load_s,
        "held_mib": held_mib,
    }


async def access(count: int, members: int) -> Figures:
    """Questions a second, each about another node; beside it, finding the node in a table."""
    valley = Valley(node_keys(members), FOUNDERS, 1)
    store = make_store(None, "")
    await store.open()
    await store.write(partial(tables.save_founded, charter=valley.charter, entries=valley.items, own=valley.members[0]))
    loaded = await _loaded(valley, store)
    await store.close()
    standing = loaded.standing
    assert standing is not None
    nodes = [node.peer_id for node in valley.nodes]
    table = dict.fromkeys(nodes, True)
    return {
        "members_may_per_s": _asked(count, nodes, lambda node: loaded.may(node, Action.PUBLISH, TYPE)),
        "standing_may_per_s": _asked(count, nodes, lambda node: standing.may(node, Action.PUBLISH, TYPE)),
        "lookup_per_s": _asked(count, nodes, lambda node: table[node]),
    }


async def removal(count: int) -> Figures:
    """Simulated nodes that all see each other: from the last signature until each refuses who was removed.

    Time is made up, and so is the network: one hop is `LATENCY` and up to as much again.
    """
    return await asyncio.to_thread(_told, count)


def _told(count: int) -> Figures:
    from covm.testing.loop import run_in_virtual_time

    return run_in_virtual_time(_removal(count))


async def _removal(count: int) -> Figures:
    names = [f"node {number}" for number in range(count)]
    keys = [
        Identity.from_seed(hashlib.sha256(f"covm.testing/0/identity/{name}".encode()).digest()).keypair
        for name in names
    ]
    valley = Valley(keys, FOUNDERS, 1)
    config = {"membership": "members", "federation": str(valley.charter.id), "max_connections": 2 * count}
    faults = LinkFaults(latency=LATENCY, jitter=LATENCY)
    async with World(names=names, config=config, faults=faults) as world:
        for machine, member in zip(world.machines, valley.members, strict=True):
            store = machine.disk.mount()
            await store.open()
            await store.write(partial(tables.save_founded, charter=valley.charter, entries=valley.items, own=member))
            await store.close()
        await world.start_all()
        await _until(lambda: all(len(each.service.connected_peers()) == count - 1 for each in world.machines))
        took_s = await _removed(world.machines, valley)
    hop_ms = LATENCY.total_seconds() * 1000
    return {
        "p50_ms": 1000 * percentile(took_s, 0.5),
        "max_ms": 1000 * max(took_s),
        "hop_ms": 1.5 * hop_ms,
    }


async def _removed(machines: tuple[Machine, ...], valley: Valley) -> list[float]:
    """Seconds until each of the others refuses the last one, in order."""
    gone, others = machines[-1], machines[:-1]
    effect_s: dict[str, float] = {}
    loop = asyncio.get_running_loop()

    def watch(machine: Machine) -> None:
        members = machine.service._node.members
        assert members is not None

        def look() -> None:
            if not members.node_verdict(gone.peer_id).holds:
                effect_s.setdefault(machine.name, loop.time())

        members.on_change(look)

    for machine in others:
        watch(machine)
    asked = await machines[0].service.members.remove(str(valley.members[-1]), "has closed")
    await _until(lambda: len(machines[1].service.members.requests()) == 1)
    began_s = loop.time()
    await machines[1].service.members.approve(asked.id)
    await _until(lambda: len(effect_s) == len(others))
    return sorted(at_s - began_s for at_s in effect_s.values())


async def _until(condition: Callable[[], object]) -> None:
    for _ in range(int(PATIENCE.total_seconds() * 10)):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the simulated nodes did not come so far")


async def _loaded(valley: Valley, store: Store) -> Members:
    members = Members(
        federation=valley.charter.id,
        peer_id=valley.nodes[0].peer_id,
        store=store,
        offload=ThreadOffload(),
        supervisor=Supervisor(),
        counters=Counters(),
        clock=CLOCK,
        hub=EventHub(),
    )
    await members.load()
    return members


def _by_kind(items: list[Item]) -> Mapping[Kind, list[bytes]]:
    found: dict[Kind, list[bytes]] = {Kind.IDENTITY: [], Kind.CREDENTIAL: [], Kind.RECORD: []}
    for item in items:
        if isinstance(item.body, RecordHeader):
            found[Kind.RECORD].append(item.envelope)
        elif isinstance(item.body, Admission | Removal | TypeCredential):
            found[Kind.CREDENTIAL].append(item.envelope)
        else:
            found[Kind.IDENTITY].append(item.envelope)
    return found


def _took(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _asked(count: int, nodes: list[str], ask: Callable[[str], object]) -> float:
    began_s = time.perf_counter()
    for number in range(count):
        ask(nodes[number % len(nodes)])
    return count / (time.perf_counter() - began_s)
