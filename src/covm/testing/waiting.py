"""Waiting in tests: for a condition, by the turns of the event loop, and never for longer than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

DEFAULT_TIMEOUT = timedelta(seconds=10)
"""For a machine that is busy with other tests; a condition that comes true ends the wait at once."""

TURNS = 200
"""Loop turns in a row before a wait leaves the loop to its timers. What a simulated message sets off, from publishing
to the last handler, takes some dozens."""

FIRST_PAUSE_S = 0.001
LAST_PAUSE_S = 0.05


async def until(
    condition: Callable[[], object], *, timeout: timedelta = DEFAULT_TIMEOUT, what: str = "the condition"
) -> None:
    """Returns as soon as `condition()` is true; looks after every turn of the loop, then as its timers run.

    Time is the loop's, so a loop with virtual time waits for nothing. Raises `TimeoutError`, naming `what`, when the
    condition does not hold in time.

        await until(lambda: nodes[1].peer_id in nodes[0].connected_peers())
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout.total_seconds()
    pause_s = FIRST_PAUSE_S
    while True:
        for _ in range(TURNS):
            if condition():
                return
            await asyncio.sleep(0)
        if loop.time() >= deadline_s:
            raise TimeoutError(f"{what} did not come true within {timeout.total_seconds():g} s")
        # Nothing moves by itself any more: what is still to come hangs on a timer.
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_PAUSE_S)
