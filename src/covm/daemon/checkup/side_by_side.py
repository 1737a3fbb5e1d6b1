"""Runs what may block for ever side by side, and takes what has come by a deadline."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def done_by(deadline_s: float, jobs: Mapping[K, Callable[[], V]]) -> dict[K, V]:
    """What the jobs returned that ended within so many seconds; of the others nothing.

    Each has a thread of its own, which is left behind if it does not end: a look-up or a file on a drive that does not
    answer cannot be called off, and must keep nobody from leaving. Raises what a job raised.
    """
    ended: queue.SimpleQueue[tuple[K, V | None, BaseException | None]] = queue.SimpleQueue()
    for key, job in jobs.items():
        threading.Thread(target=_run, args=(key, job, ended), name=f"check of {key}", daemon=True).start()
    results: dict[K, V] = {}
    until_s = time.monotonic() + deadline_s
    for _ in jobs:
        try:
            key, value, error = ended.get(timeout=max(until_s - time.monotonic(), 0.0))
        except queue.Empty:
            break
        if error is not None:
            raise error
        results[key] = value  # type: ignore[assignment]  # there is one where there is no error
    return results


def _run(key: K, job: Callable[[], V], ended: queue.SimpleQueue[tuple[K, V | None, BaseException | None]]) -> None:
    try:
        ended.put((key, job(), None))
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
        ended.put((key, None, error))
