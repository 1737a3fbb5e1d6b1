"""From dialling until both sides count each other as connected, in one process."""

from __future__ import annotations

import time

from benchmarks.service.figures import Figures, milliseconds_since, percentile
from benchmarks.service.node import connect_both, new_service


async def connect(runs: int) -> Figures:
    times: list[float] = []
    for _ in range(runs):
        async with new_service() as far, new_service() as near:
            began_ns = time.perf_counter_ns()
            await connect_both(near, far)
            times.append(milliseconds_since(began_ns))
    return {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}
