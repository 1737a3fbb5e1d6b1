"""Network namespaces that a test makes, joins by a cable and takes away again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """Two namespaces with a veth between them, 10.99.0.1 and 10.99.0.2, multicast on; gone afterwards."""
    left, right = f"covm-l{os.getpid()}", f"covm-r{os.getpid()}"
    made: list[str] = []
    try:
        for name in (left, right):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "cable", "netns", left, "type", "veth", "peer", "name", "cable", "netns", right)
        for name, address in ((left, "10.99.0.1/24"), (right, "10.99.0.2/24")):
            ip("-n", name, "address", "add", address, "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up", "multicast", "on")
            ip("-n", name, "route", "add", "default", "dev", "cable")
        yield left, right
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
