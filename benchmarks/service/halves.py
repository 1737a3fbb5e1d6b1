"""A partition that ends: a federation in two halves, a process each; what one wrote, the other lacks.

sync-healed NODES COUNT         starts both, has them meet, and puts their figures together
half NODES COUNT WHICH          one half: `NODES` nodes with `COUNT` records that all of them have
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from benchmarks.service.durable import new_home
from benchmarks.service.figures import Figures, cpu_s, rss_mib
from benchmarks.service.lives import answer, finish, life, say, told, told_by
from benchmarks.service.node import connect_both, new_service
from benchmarks.service.replica import Held
from benchmarks.service.shape import Shape
from benchmarks.service.stores import AT_ONCE, FEDERATION
from benchmarks.service.writers import Writers
from covm.federation import FederationService

AUTHORS = 20
"""Whose records they are, half of them on each side."""


async def healed(nodes: int, count: int) -> Figures:
    """From the first dial across until every node has every record."""
    words = ("half", str(nodes // 2), str(count // 2))
    with life(*words, "0") as near, life(*words, "1") as far:
        addresses = told_by(near)["addresses"]
        told_by(far)
        everything = str(nodes // 2 * (count // 2 * 2))
        say(near, everything)
        say(far, " ".join([everything, *addresses]))
        one, other = told_by(near), told_by(far)
        finish(far)
        finish(near)
    took_s = (max(one["done_ns"], other["done_ns"]) - other["began_ns"]) / 1e9
    return {"took_s": took_s, "cpu_s": one["cpu_s"] + other["cpu_s"], "rss_mib": max(one["rss_mib"], other["rss_mib"])}


async def half(nodes: int, count: int, which: int) -> Figures:
    """Node i is wired to i-1, i//2 and 0, and across to its counterpart once the partition ends."""
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(new_service(stack.enter_context(new_home()))) for _ in range(nodes)]
        await _fill(services, count, which)
        for number, service in enumerate(services):
            for other in {number - 1, number // 2, 0} - {number, -1}:
                await connect_both(service, services[other])
        held = Held(services)
        answer({"addresses": [service.addresses[0] for service in services]})
        everything, *across = (await told()).split()
        began_ns, spent_s = time.perf_counter_ns(), cpu_s()
        await asyncio.gather(*(each.connect_peer(address) for each, address in zip(services, across, strict=False)))
        await held.until(int(everything))
        answer({"began_ns": began_ns, "done_ns": time.perf_counter_ns(), "cpu_s": cpu_s() - spent_s,
                "rss_mib": rss_mib()})  # fmt: skip
        await told()
    return {}


async def _fill(services: list[FederationService], count: int, which: int) -> None:
    writers = Writers(FEDERATION, Shape(count * 2, AUTHORS))
    mine = range(which * AUTHORS // 2, (which + 1) * AUTHORS // 2)
    for author in mine:
        left = count // len(mine)
        while left:
            records = writers.write(author, min(left, AT_ONCE))
            left -= len(records.envelopes)
            for service in services:
                await service._node.sync.keeper.take(records.envelopes, records.bodies)
