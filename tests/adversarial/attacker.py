"""A peer that is let in like any other and then says whatever it likes, over real libp2p.

It drives the core's `Node` itself, so nothing of the federation's own code stands between a test and the wire: any
bytes on the direct stream, any envelope over gossip, any answer on the acknowledging half.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Self

import msgspec

from covm import _native
from covm.federation import FederationService
from covm.federation.network.interface import DIRECT_PROTOCOL
from covm.federation.wire.federation_id import FederationId
from covm.federation.wire.frames import Hello, Messages, decode_frame, encode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.federation.wire.system import Heartbeat, PeerInfo

NOTE = "garden.note"
PATIENCE_S = 20.0
"""The longest that anything may take on a machine that is busy with other things."""

MOST_EVENTS = 1024

Frames = Hello | Messages | Heartbeat | PeerInfo | Any


class Attacker:
    """Use it in `async with`. It admits whoever says HELLO, accepts all gossip and reads all it gets."""

    def __init__(
        self, name: str, federation: FederationId, *, hello: bytes | None = None, kademlia: bool = False
    ) -> None:
        """`kademlia`: it takes part in the federation's table, as a node that others can reach."""
        self.federation = federation
        self.seed = hashlib.sha256(f"attacker {name}".encode()).digest()
        self.keypair = _native.Keypair.from_seed(self.seed)
        self.peer_id = self.keypair.peer_id
        self.life = Incarnation(1, b"\x00" * 8)
        self.answers = True
        """Whether it answers the victim's HELLO as an honest acceptor does."""
        self.reads = True
        """Whether it gives credit for what it got."""
        self.refuses = ""
        """With a text, it refuses every HELLO for that reason."""
        self.is_mute = False
        """Whether it answers no HELLO at all."""
        self.talks: list[bytes] = []
        """With frames, it says these to every HELLO and never answers it."""
        self.address = ""
        self.events: list[tuple[Any, ...]] = []
        self.gossiped = self.sent = self.inventions = 0
        self._node = _native.Node(
            self.keypair,
            hello=encode_join_hello(JoinHello(federation=federation.cid, name=name)) if hello is None else hello,
            agent="attacker",
            gossip_kind=Kind.MESSAGE.value,
            stream_protocols=[DIRECT_PROTOCOL],
            announce=[],
            kademlia=federation.kademlia if kademlia else None,
            reachability="public" if kademlia else "auto",
        )
        self._changed = asyncio.Event()
        self._inbound: set[int] = set()

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._node.fileno(), self._on_readable)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.result(self._node.stop())
        asyncio.get_running_loop().remove_reader(self._node.fileno())

    # --- what it waits for

    async def take(self, name: str, fits: Callable[..., bool] = lambda *_: True) -> tuple[Any, ...]:
        """The first event of this name that fits, taken out; waits until it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for index, event in enumerate(self.events):
                    if event[0] == name and fits(*event[1:]):
                        return self.events.pop(index)[1:]
                self._changed.clear()
                await self._changed.wait()

    async def result(self, command: int) -> Any:
        """What a command came to."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for index, event in enumerate(self.events):
                    if event[0] in ("done", "error") and event[1] == command:
                        self.events.pop(index)
                        assert event[0] == "done", event
                        return event[2]
                self._changed.clear()
                await self._changed.wait()

    def _on_readable(self) -> None:
        for event in self._node.drain(MOST_EVENTS):
            with contextlib.suppress(_native.NodeStopped):
                self._respond(event)
            self.events.append(event)
        self._changed.set()

    def _respond(self, event: tuple[Any, ...]) -> None:
        match event:
            case ("hello", *_) if self.is_mute:
                pass
            case ("hello", connection, _, _, _) if self.refuses:
                self._node.refuse(connection, self.refuses)
            case ("hello", connection, _, _, _) if self.talks:
                self._node.talk(connection, self.talks)
            case ("hello", connection, _, _, _):
                self._node.admit(connection)
            case ("gossip", handle, *_):
                self._node.judge([(handle, 0)])
            case ("stream_opened", stream, _, _):
                self._inbound.add(stream)
            case ("frames", stream, _, frames):
                self._on_frames(stream, frames)

    def _on_frames(self, stream: int, frames: list[bytes]) -> None:
        if self.reads:
            self._node.release(stream, sum(map(len, frames)))
        if self.answers and stream in self._inbound and any(_is_opening(data) for data in frames):
            with contextlib.suppress(ConnectionError):  # the victim may have closed it by now
                self._node.send(stream, [encode_frame(self.hello())])

    # --- how it gets in

    async def listen(self) -> None:
        addresses = await self.result(self._node.listen(["/ip4/127.0.0.1/tcp/0"]))
        self.address = f"{addresses[0]}/p2p/{self.peer_id}"

    async def dial(self, service: FederationService) -> None:
        """Connects, and waits for no more than that."""
        address, peer = _native.parse_multiaddr(service.addresses[0])
        await self.result(self._node.dial(peer, [address]))

    async def join(self, service: FederationService) -> None:
        """Connects, is admitted, and has joined the topic on both sides."""
        await self.result(self._node.subscribe(self.federation.topic))
        await self.dial(service)
        await self.take("topic_joined", lambda peer, _: peer == service.peer_id)

    async def leave(self, service: FederationService) -> None:
        await self.result(self._node.disconnect(service.peer_id))
        await self.take("unadmitted")
        self.events.clear()

    async def open(self, service: FederationService, *, greets: bool = True) -> int:
        """Opens the direct stream; `greets`: says HELLO and waits for the answer."""
        stream = int(await self.result(self._node.open_stream(service.peer_id, DIRECT_PROTOCOL)))
        if greets:
            await self.say(stream, self.hello())
            await self.take("frames", lambda which, _, frames: which == stream and _is_opening(frames[0]))
        return stream

    def hello(self, **changes: Any) -> Hello:
        return msgspec.structs.replace(Hello(v=(1, 0), incarnation=self.life, types=bytes(32), next=1), **changes)

    # --- what it says

    async def say(self, stream: int, *frames: Frames) -> None:
        """Frames as they are meant to be, or raw bytes."""
        raw = [frame if isinstance(frame, bytes) else encode_frame(frame) for frame in frames]
        await self.say_raw(stream, raw)

    async def say_raw(self, stream: int, frames: list[bytes]) -> None:
        while not self._node.send(stream, frames):
            await self.take("writable", lambda which: which == stream)

    def try_say(self, stream: int, frames: list[bytes]) -> bool:
        """Says it only if there is credit."""
        return self._node.send(stream, frames)

    async def publish(self, envelopes: Iterable[bytes], *, topic: str | None = None) -> None:
        await self.result(self._node.publish(topic or self.federation.topic, list(envelopes)))

    def seal(self, *bodies: bytes, kind: str = Kind.MESSAGE.value) -> list[bytes]:
        return self.keypair.seal(kind, bodies)

    def note(self, text: object = "weeds", *, to: str | None = None, **changes: Any) -> MessageBody:
        """A message with nothing wrong in it, next in its sequence, unless `changes` say otherwise."""
        if to is None:
            self.gossiped += 1
        else:
            self.sent += 1
        seq = self.gossiped if to is None else self.sent
        body = MessageBody(
            federation=self.federation.cid,
            type=NOTE,
            author=self.peer_id,
            incarnation=self.life,
            seq=seq,
            mid=hashlib.sha256(f"{self.peer_id}{to}{seq}{self.life}".encode()).digest()[:16],
            to=to,
            sent_at=0,
            expires_at=None,
            payload=text,
        )
        return msgspec.structs.replace(body, **changes)

    def invented(self, text: object, **changes: Any) -> bytes:
        """A message with nothing wrong in it, by an author that nobody has met, under a key made for it."""
        self.inventions += 1
        keypair = _native.Keypair.from_seed(hashlib.sha256(f"{self.peer_id} {self.inventions}".encode()).digest())
        body = msgspec.structs.replace(self.note(text, **changes), author=keypair.peer_id)
        return keypair.seal(Kind.MESSAGE.value, [encode_body(body)])[0]

    def sealed_note(self, text: object = "weeds", **changes: Any) -> bytes:
        return self.seal(encode_body(self.note(text, **changes)))[0]

    # --- what it hears

    async def stream_from(self, service: FederationService) -> int:
        """The stream that the victim opened to it."""
        return int((await self.take("stream_opened", lambda _, peer, __: peer == service.peer_id))[0])

    async def received(self, stream: int, kept: list[bytes] | None = None) -> list[MessageBody]:
        """The messages in the next frames that bring any; `kept` gets their envelopes."""
        while True:
            _, _, frames = await self.take("frames", lambda which, *_: which == stream)
            decoded = [decode_frame(data) for data in frames]
            envelopes = [each for frame in decoded if isinstance(frame, Messages) for each in frame.envelopes]
            if envelopes:
                if kept is not None:
                    kept += envelopes
                opened = _native.open_envelopes(Kind.MESSAGE.value, envelopes)
                return [decode_body(one[1]) for one in opened if not isinstance(one, str)]


def _is_opening(data: bytes) -> bool:
    return isinstance(decode_frame(data), Hello)
