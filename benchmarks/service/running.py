"""Runs a command on the loop that was asked for."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine

from benchmarks.service.figures import Figures


def run(command: Coroutine[None, None, Figures], loop: str) -> Figures:
    factory = None
    if loop == "auto" and importlib.util.find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(command)
