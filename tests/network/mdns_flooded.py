"""A bare node on a segment for test_mdns: says how many nodes mDNS has told it of, and when it is told of one by name.

Commands: `["told"]`, and `["hear_of", peer]`, which waits.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from covm import _native
from covm.federation.network import interface as net
from covm.federation.network.libp2p import Libp2pNetwork


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Ear:
    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.changed = asyncio.Event()

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        for event in events:
            if isinstance(event, net.PeerDiscovered):
                self.told[event.peer] = self.told.get(event.peer, 0) + len(event.addresses)
        self.changed.set()

    async def hear_of(self, peer: str) -> None:
        while peer not in self.told:
            self.changed.clear()
            await self.changed.wait()


async def main(*switched_off: str) -> None:
    for name in switched_off:
        _native.switch_off(name)
    ear = Ear()
    network = Libp2pNetwork(_native.Keypair.generate(), listen=["/ip4/0.0.0.0/tcp/4001"], agent="covm-test", mdns=True)
    await network.start(ear, b"hello")
    say(peer=network.peer_id)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match json.loads(line):
            case ["told"]:
                say(result=len(ear.told))
            case ["hear_of", peer]:
                await ear.hear_of(peer)
                say(result=None)
    await network.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
