"""A peer that is let in like any other and then says whatever it likes on blob streams, and what a victim charges."""

from __future__ import annotations

from collections import Counter
from typing import Any, Self

from tests.network.world import World
from tests.unit.simulated_world import Node, key

from covm.federation import FederationService
from covm.federation.network.interface import BLOB_PROTOCOL, FramesReceived, StreamOpened
from covm.federation.wire.blob_frames import BlobHello, KnownBlobFrame, decode_blob_frame, encode_blob_frame
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import Content, MessageBody, encode_body
from covm.testing import until

FEDERATION = open_federation("covm")
MAP = "map.of_the_valley"


def charges(node: FederationService) -> Counter[str]:
    """The peers that the node charges from now on."""
    charged: Counter[str] = Counter()
    network, charge = node._node.network, node._node.network.charge

    def noted(peer: str, amount: float) -> None:
        charged[peer] += 1
        charge(peer, amount)

    network.charge = noted  # type: ignore[method-assign]
    return charged


class RawPeer(Node):
    """Joins as anyone may; after that says what a test tells it to on blob streams."""

    @classmethod
    async def join(cls, world: World, victim: FederationService) -> Self:
        peer = cls(world._fabric.network(key(66)))
        await peer.network.start(peer, encode_join_hello(JoinHello(federation=FEDERATION.cid)))
        await peer.network.subscribe(FEDERATION.topic)
        await peer.network.dial(None, [address.partition("/p2p/")[0] for address in victim.addresses])
        await until(lambda: victim.peer_id in {event.peer for event in peer.heard(StreamOpened)})
        return peer

    async def open(self, victim: FederationService, *, greets: bool = True) -> int:
        stream = await self.network.open_stream(victim.peer_id, BLOB_PROTOCOL)
        if greets:
            self.say(stream, BlobHello((1, 0)))
            await until(lambda: self.said_on(stream))
        return stream

    def say(self, stream: int, *frames: KnownBlobFrame | bytes) -> None:
        raw = [frame if isinstance(frame, bytes) else encode_blob_frame(frame) for frame in frames]
        assert self.network.try_send(stream, raw)

    def said_on(self, stream: int) -> list[Any]:
        """What the victim said on a stream."""
        events = [event for event in self.heard(FramesReceived) if event.stream == stream]
        return [decode_blob_frame(data) for event in events for data in event.frames]

    async def announce(self, content: Content, seq: int = 1) -> None:
        body = MessageBody(
            federation=FEDERATION.cid,
            type=MAP,
            author=self.peer,
            incarnation=Incarnation(1, b"mallory1"),
            seq=seq,
            mid=seq.to_bytes(16, "big"),
            to=None,
            sent_at=0,
            expires_at=None,
            payload=None,
            content=content,
        )
        envelopes = key(66).seal(Kind.MESSAGE, [encode_body(body)])
        await self.network.publish(FEDERATION.topic, envelopes)

    @property
    def asked_on(self) -> list[int]:
        """The blob streams that the victim opened."""
        return [event.stream for event in self.heard(StreamOpened) if event.protocol == BLOB_PROTOCOL]
