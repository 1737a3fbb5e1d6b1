"""A node for test_mdns: finds by multicast alone whom nobody told it of, and says what happens.

`publish TEXT` publishes a note; `rounds COUNT` waits until it has thought so often of dialling whom it found.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.federation.events import PeerConnected, PeerRefused

NOTE = "garden.note"


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Node:
    def __init__(self, service: FederationService) -> None:
        self.service = service
        # From before the start, so that whoever is met during it is told of.
        self._events = service.events()
        self._rounds = 0
        self._next = asyncio.Event()
        seeker = service._node.peers._seeker
        self._consider = seeker.consider_all
        seeker.consider_all = self._count  # type: ignore[method-assign]
        service.subscribe(NOTE, self._heard)

    def _count(self) -> None:
        self._rounds += 1
        self._next.set()
        self._consider()

    def _heard(self, message: Message[Any]) -> None:
        say(event="heard", text=message.payload)

    async def tell_events(self) -> None:
        async for event in self._events:
            if isinstance(event, PeerConnected):
                say(event="met", peer=event.peer)
            elif isinstance(event, PeerRefused):
                say(event="refused", peer=event.peer, by=event.by, reason=event.reason)

    async def obey(self, do: str, what: Any) -> None:
        if do == "publish":
            await self.service.publish(NOTE, what)
        else:
            until = self._rounds + what
            while self._rounds < until:
                self._next.clear()
                await self._next.wait()


async def main(network: str) -> None:
    config = FederationConfig.preset(
        "lan",
        membership="open",
        network=network,
        listen_addresses=["/ip4/0.0.0.0/tcp/0"],
        enable_kademlia=False,
        enable_peer_exchange=False,
    )
    service = FederationService(Identity.generate(), config)
    node = Node(service)
    async with service, asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(node.tell_events())
        say(peer=service.peer_id)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            await node.obey(*json.loads(line))
            say(result=None)
        telling.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
