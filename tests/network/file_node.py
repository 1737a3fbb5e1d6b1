"""A process of its own for the test of memory: sends or receives files and says how much memory that took.

    python -m tests.network.file_node HOME sends SIZE...      says its address; sends one file of each size, in MiB
    python -m tests.network.file_node HOME receives ADDRESS COUNT    receives so many files
Each prints, for every file but the first, its most memory above what it had before, in KiB.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.network.world import PATIENCE

from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.events import FileReceived
from covm.testing import until

MIB = 1024 * 1024


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def memory(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


class Peak:
    """The most memory from here on, above what is taken now."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self.before = memory("VmRSS")

    def say(self) -> None:
        say(str(memory("VmHWM") - self.before))


def make_file(path: Path, size_mib: int) -> None:
    with path.open("wb") as file:
        for number in range(size_mib):
            file.write(number.to_bytes(4, "big") * (MIB // 4))


async def send(node: FederationService, home: Path, sizes: list[int]) -> None:
    say(node.addresses[0])
    await until(node.connected_peers, timeout=PATIENCE)
    for number, size_mib in enumerate(sizes):
        path = home / f"{size_mib}"
        make_file(path, size_mib)
        peak = Peak()
        await (await node.send_file(node.connected_peers()[0], path)).done()
        if number:
            peak.say()


async def receive(node: FederationService, address: str, count: int) -> None:
    events = node.events()
    await node.connect_peer(address)
    for number in range(count):
        peak = Peak()
        async for event in events:
            if isinstance(event, FileReceived):
                break
        if number:
            peak.say()


async def main(home: Path, role: str, *arguments: str) -> None:
    config = FederationConfig.preset("local", membership="open", home=str(home), name=role)
    async with FederationService(Identity.generate(), config) as node:
        if role == "sends":
            await send(node, home, [int(size) for size in arguments])
        else:
            await receive(node, arguments[0], int(arguments[1]))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir()
    asyncio.run(main(place, *sys.argv[2:]))
