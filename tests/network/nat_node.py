"""A bare network node for test_nat: takes commands as lines of JSON, says what comes of them and what happens.

It admits whoever says HELLO. `send` keeps sending numbered frames to a peer once that is admitted, on one stream after
another when one has moved; the receiver checks that none is missing and none out of its turn.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from covm import _native
from covm.federation.errors import ConnectionFailed, FederationError
from covm.federation.network import interface as net
from covm.federation.network.libp2p import Libp2pNetwork
from covm.federation.network.ways import Traversal

SHOWN = (
    net.ConnectionOpened,
    net.ConnectionClosed,
    net.PeerAdmitted,
    net.HolePunched,
    net.ReservationChanged,
    net.ReachabilityChanged,
    net.ExternalAddressChanged,
)
FRAME_PAD = bytes(500)
AT_ONCE = 16
PACE_S = 0.005


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Node:
    def __init__(self, network: Libp2pNetwork) -> None:
        self.network = network
        self.received = 0
        self.wrong: str | None = None
        self.admitted: set[str] = set()
        self.changed = asyncio.Event()
        self.ended: dict[int, str] = {}

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        for event in events:
            if isinstance(event, net.HelloReceived):
                self.network.admit(event.connection)
            elif isinstance(event, net.FramesReceived):
                self._take(event)
            elif isinstance(event, net.StreamClosed):
                self.ended[event.stream] = event.reason
            elif isinstance(event, SHOWN):
                if isinstance(event, net.PeerAdmitted):
                    self.admitted.add(event.peer)
                say(event=type(event).__name__, **asdict(event))
        self.changed.set()

    def _take(self, event: net.FramesReceived) -> None:
        self.network.release(event.stream, sum(map(len, event.frames)))
        for frame in event.frames:
            number = int.from_bytes(frame[:8])
            if number != self.received and self.wrong is None:
                self.wrong = f"{number} came where {self.received} was due"
            self.received += 1

    async def send(self, peer: str) -> None:
        """Sends for ever, from the moment on in which the peer is admitted: before anything better can have opened."""
        while peer not in self.admitted:
            await self.something()
        number, stream = 0, await self.network.open_stream(peer, net.DIRECT_PROTOCOL)
        while True:
            if (reason := self.ended.get(stream)) is not None:
                say(event="StreamClosed", reason=reason)
                stream = await self.network.open_stream(peer, net.DIRECT_PROTOCOL)
            frames = [(number + more).to_bytes(8) + FRAME_PAD for more in range(AT_ONCE)]
            try:
                taken = self.network.try_send(stream, frames)
            except FederationError:
                taken = False  # it is closing: the event says when it has
            if taken:
                number += AT_ONCE
                await asyncio.sleep(PACE_S)
            else:
                await self.something()

    async def something(self) -> None:
        """Waits until something has happened."""
        self.changed.clear()
        await self.changed.wait()

    async def obey(self, do: str, *words: Any) -> Any:
        match do:
            case "reserve":
                return await self.network.reserve(*words)
            case "dial":
                return await self.network.dial(*words)
            case "stop":
                return await self.network.stop()
            case "can_bind":
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("0.0.0.0", *words))
                    return True
            case "network_changed":
                return self.network.network_changed()
            case "received":
                while self.received < words[0] and self.wrong is None:
                    await self.something()
                return {"received": self.received, "wrong": self.wrong}
        raise ValueError(do)


async def main(listen: str, reachability: str, *settings: str) -> None:
    ways: dict[str, Any] = dict.fromkeys(settings, True)
    network = Libp2pNetwork(
        _native.Keypair.generate(),
        listen=listen.split(","),
        agent="covm-test",
        reachability=reachability,
        traversal=Traversal(**ways),
    )
    node = Node(network)
    await network.start(node, b"hello")
    say(peer=network.peer_id)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sending: list[asyncio.Task[None]] = []
    while line := await reader.readline():
        do, *words = json.loads(line)
        if do == "send":
            sending.append(asyncio.create_task(node.send(*words)))
            say(result=None)
            continue
        try:
            say(result=await node.obey(do, *words))
        except FederationError as error:
            say(error=str(error), attempts=error.attempts if isinstance(error, ConnectionFailed) else {})
    for task in sending:
        task.cancel()
    await network.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
