"""A peer that speaks raw bytes: admitted like any other, and honest in nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.service_world import Heard, World, in_the_end, world
from tests.unit.simulated_world import Node, key, leaping, rest

from covm._native import Keypair
from covm.federation import FederationService, Message
from covm.federation.dispatch.outbox import Flight, Place
from covm.federation.dispatch.receiving import Receiver
from covm.federation.events import MessageRejected
from covm.federation.gossip.allowance import Allowances
from covm.federation.gossip.replay import ReplayWindows, Seen
from covm.federation.gossip.verdicts import Judge
from covm.federation.network.interface import DIRECT_PROTOCOL, FramesReceived, HelloReceived, StreamOpened
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import Ack, Hello, Messages, Outcome, Position, decode_frame, encode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.testing import until

FEDERATION = open_federation("covm")
LIFE = Incarnation(5, b"mallory1")
NOTE = "private.note"


class Mallory(Node):
    """Joins as anyone may; after that sends what a test tells it to."""

    def __init__(self, network: Any, keypair: Keypair, victim: FederationService) -> None:
        super().__init__(network)
        self.keypair = keypair
        self.victim = victim
        self.stream = 0

    @classmethod
    async def join(cls, w: World, victim: FederationService) -> Mallory:
        keypair = key(66)
        mallory = cls(w.fabric.network(keypair), keypair, victim)
        await mallory.network.start(mallory, encode_join_hello(JoinHello(federation=FEDERATION.cid)))
        await mallory.network.subscribe(FEDERATION.topic)
        await mallory.network.dial(None, [address.partition("/p2p/")[0] for address in victim.addresses])
        await until(lambda: mallory.heard(StreamOpened))
        return mallory

    async def open(self, **changes: Any) -> None:
        """Opens the direct stream with a HELLO, and answers the victim's."""
        self.stream = await self.network.open_stream(self.victim.peer_id, DIRECT_PROTOCOL)
        self.send(Hello(**{"v": (1, 0), "incarnation": LIFE, "types": bytes(32), "next": 1, **changes}))
        self.answer(Hello(v=(1, 0), incarnation=LIFE, types=bytes(32)))
        await until(lambda: self.peer in self.victim.connected_peers())

    def send(self, *frames: Any) -> None:
        assert self.network.try_send(self.stream, [encode_frame(frame) for frame in frames])

    def send_raw(self, *frames: bytes) -> None:
        assert self.network.try_send(self.stream, frames)

    def answer(self, *frames: Any) -> None:
        """On the acknowledging half of the victim's stream."""
        assert self.network.try_send(self.answering, [encode_frame(frame) for frame in frames])

    def body(self, seq: int = 1, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "federation": FEDERATION.cid,
            "type": NOTE,
            "author": self.peer,
            "incarnation": LIFE,
            "seq": seq,
            "mid": seq.to_bytes(16, "big"),
            "to": self.victim.peer_id,
            "sent_at": 0,
            "expires_at": None,
            "payload": seq,
        }
        return encode_body(MessageBody(**{**fields, **changes}))

    def envelope(self, seq: int = 1, *, signer: Keypair | None = None, **changes: Any) -> bytes:
        return (signer or self.keypair).seal(Kind.MESSAGE, [self.body(seq, **changes)])[0]

    async def gossip(self, *bodies: bytes, topic: str = FEDERATION.topic) -> None:
        await self.network.publish(topic, self.keypair.seal(Kind.MESSAGE, list(bodies)))
        await rest(self)

    @property
    def answering(self) -> int:
        """The direct stream that the victim has opened."""
        return [event.stream for event in self.heard(StreamOpened) if event.protocol == DIRECT_PROTOCOL][-1]

    def received(self) -> list[MessageBody]:
        """The victim's messages to us."""
        direct = [event for event in self.heard(FramesReceived) if event.stream == self.answering]
        frames = [decode_frame(data) for event in direct for data in event.frames]
        envelopes = [each for frame in frames if isinstance(frame, Messages) for each in frame.envelopes]
        return [decode_body(opened.body) for opened in self._opened(envelopes)]

    def _opened(self, envelopes: list[bytes]) -> list[Any]:
        from covm import _native
        from covm.federation.network.interface import Opened

        return [Opened(*each) for each in _native.open_envelopes(Kind.MESSAGE, envelopes)]


def attacked(
    story: Callable[[Mallory, FederationService, list[Message[Any]]], Awaitable[None]],
) -> Callable[..., None]:
    """A story between Mallory, whose streams stand, and a victim that collects notes."""

    @leaping
    async def told() -> None:
        async with world() as w:
            victim = await w.start("victim")
            received: list[Message[Any]] = []
            victim.subscribe(NOTE, received.append)
            mallory = await Mallory.join(w, victim)
            await mallory.open()
            await story(mallory, victim, received)
            await mallory.network.stop()

    return told


def charges(node: FederationService) -> list[str]:
    """The peers that the node charges from now on."""
    charged: list[str] = []
    network, charge = node._node.network, node._node.network.charge

    def noted(peer: str, amount: float) -> None:
        charged.append(peer)
        charge(peer, amount)

    network.charge = noted  # type: ignore[method-assign]
    return charged


def flipped(envelope: bytes) -> bytes:
    return envelope[:-3] + bytes([envelope[-3] ^ 1]) + envelope[-2:]


def in_other_domain(mallory: Mallory) -> bytes:
    return mallory.keypair.seal("/covm/record", [mallory.body()])[0]


FRAMES: dict[str, tuple[str, Callable[[Mallory], list[bytes]]]] = {
    "a flipped byte": ("bad_envelope", lambda m: [encode_frame(Messages([flipped(m.envelope())]))]),
    "another kind": ("bad_envelope", lambda m: [encode_frame(Messages([in_other_domain(m)]))]),
    "another signer": ("author_mismatch", lambda m: [encode_frame(Messages([m.envelope(signer=key(67))]))]),
    "another author": ("author_mismatch", lambda m: [encode_frame(Messages([m.envelope(author=key(67).peer_id)]))]),
    "a third party's": (
        "author_mismatch",
        lambda m: [encode_frame(Messages([m.envelope(signer=key(67), author=key(67).peer_id)]))],
    ),
    "another federation": (
        "wrong_federation",
        lambda m: [encode_frame(Messages([m.envelope(federation=open_federation("x").cid)]))],
    ),
    "another recipient": ("wrong_recipient", lambda m: [encode_frame(Messages([m.envelope(to=key(67).peer_id)]))]),
    "for everybody": ("wrong_recipient", lambda m: [encode_frame(Messages([m.envelope(to=None)]))]),
    "a gap": ("sequence_gap", lambda m: [encode_frame(Messages([m.envelope(2)]))]),
    "another life": (
        "wrong_incarnation",
        lambda m: [encode_frame(Messages([m.envelope(incarnation=Incarnation(9, b"mallory2"))]))],
    ),
    "no frame": ("malformed_frame", lambda m: [b"\xff\xff"]),
    "a second hello": (
        "second_hello",
        lambda m: [encode_frame(Hello(v=(1, 0), incarnation=LIFE, types=bytes(32), next=1))],
    ),
    "no body": (
        "malformed_body",
        lambda m: [encode_frame(Messages(m.keypair.seal(Kind.MESSAGE, [b"\xa0"])))],
    ),
}


@pytest.mark.parametrize("attack", FRAMES)
def test_what_no_honest_peer_sends_is_refused_counted_charged_and_told(attack: str) -> None:
    reason, frames = FRAMES[attack]

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        heard, charged = Heard(victim), charges(victim)
        mallory.send_raw(*frames(mallory))
        await in_the_end(lambda: heard.of(MessageRejected))
        assert heard.of(MessageRejected)[0] == MessageRejected(mallory.peer, reason, 1)
        assert victim.stats()["dropped"][reason] == 1
        assert received == []
        assert charged == [mallory.peer]

    story()


@pytest.mark.parametrize("attack", ["another signer", "another author", "another federation", "another recipient"])
def test_without_the_check_of_the_body_the_same_messages_would_pass(
    attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Receiver, "_body_of", lambda self, opened: decode_body(opened.body))

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        mallory.send_raw(*FRAMES[attack][1](mallory))
        await until(lambda: received)

    story()


@attacked
async def test_a_peer_that_goes_on_breaking_the_protocol_is_disconnected(
    mallory: Mallory, victim: FederationService, received: list[Message[Any]]
) -> None:
    for _ in range(3):
        mallory.send_raw(b"\xff\xff")
        await asyncio.sleep(1)
        if mallory.peer in victim.connected_peers():
            mallory.stream = await mallory.network.open_stream(victim.peer_id, DIRECT_PROTOCOL)
            mallory.send(Hello(v=(1, 0), incarnation=LIFE, types=bytes(32), next=1))
    await in_the_end(lambda: mallory.peer not in victim.connected_peers())


@attacked
async def test_the_same_envelope_again_has_no_second_effect(
    mallory: Mallory, victim: FederationService, received: list[Message[Any]]
) -> None:
    first = mallory.envelope(1)
    mallory.send(Messages([first]), Messages([first, first, mallory.envelope(2)]))
    mallory.send(Messages([mallory.envelope(3, mid=(1).to_bytes(16, "big"))]))
    await until(lambda: victim.stats()["dropped"].get("repeated"))
    assert [message.seq for message in received] == [1, 2]


ACKS: dict[str, tuple[str, Callable[[bytes], Ack]]] = {
    "forged": ("ack_forged", lambda mid: Ack(upto=Position(1, bytes(16)))),
    "of what was never sent": ("ack_of_unsent", lambda mid: Ack(upto=Position(7, mid))),
    "an outcome of what was never sent": (
        "outcome_of_unsent",
        lambda mid: Ack(outcomes=[Outcome(1, 7, 7, mid, "handled")]),
    ),
    "an outcome before it is stored": (
        "outcome_of_unsent",
        lambda mid: Ack(outcomes=[Outcome(1, 1, 1, mid, "handled")]),
    ),
}


@pytest.mark.parametrize("attack", ACKS)
def test_an_acknowledgement_that_cannot_be_is_ignored_and_charged(attack: str) -> None:
    reason, ack = ACKS[attack]

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        receipt = await victim.send_direct(mallory.peer, NOTE, 1)
        await until(mallory.received)
        mallory.answer(ack(mallory.received()[0].mid))
        await until(lambda: victim.stats()["dropped"].get(reason))
        assert receipt.state == "queued"
        mallory.answer(Ack(upto=Position(1, mallory.received()[0].mid)))
        await receipt.stored()

    story()


def test_without_the_check_a_forged_acknowledgement_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(self: Flight, seq: int, mid: bytes) -> list[Place]:
        return [self._places.pop(seq)]

    monkeypatch.setattr(Flight, "acknowledge", trusting)

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        receipt = await victim.send_direct(mallory.peer, NOTE, 1)
        await until(mallory.received)
        mallory.answer(Ack(upto=Position(1, bytes(16))))
        await receipt.stored()

    story()


@attacked
async def test_an_acknowledgement_of_an_acknowledgement_is_ignored_and_charged(
    mallory: Mallory, victim: FederationService, received: list[Message[Any]]
) -> None:
    mallory.send(Ack(upto=Position(1, bytes(16))), Messages([mallory.envelope()]))
    await until(lambda: received)
    assert victim.stats()["dropped"]["ack_of_ack"] == 1


GOSSIP: dict[str, tuple[str, Callable[[Mallory], bytes]]] = {
    "another author": ("author_mismatch", lambda m: m.body(to=None, author=key(67).peer_id)),
    "another federation": ("wrong_federation", lambda m: m.body(to=None, federation=open_federation("x").cid)),
    "addressed to one": ("addressed_to_one", lambda m: m.body()),
    "too large": ("too_large", lambda m: m.body(to=None, payload=b"x" * 65_600)),
    "no body": ("malformed_body", lambda m: b"\xa0"),
}


@pytest.mark.parametrize("attack", GOSSIP)
def test_gossip_that_no_honest_node_forwards_is_rejected_counted_and_told(attack: str) -> None:
    reason, body = GOSSIP[attack]

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        heard = Heard(victim)
        await mallory.gossip(body(mallory))
        await in_the_end(lambda: heard.of(MessageRejected))
        assert victim.stats()["dropped"] == {reason: 1}
        assert victim.gossip_log(1)[0].verdict == "reject"
        assert received == []

    story()


@pytest.mark.parametrize("attack", ["another author", "another federation", "addressed to one", "too large"])
def test_without_the_check_of_the_body_the_same_gossip_would_pass(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "_wrong_for_everyone", lambda *_: "")

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        await mallory.gossip(GOSSIP[attack][1](mallory))
        await until(lambda: received)

    story()


@pytest.mark.parametrize("defended", [True, False])
def test_yesterdays_gossip_sealed_anew_has_no_second_effect(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not defended:
        monkeypatch.setattr(ReplayWindows, "check", lambda *_: Seen.NEW)

    @attacked
    async def story(mallory: Mallory, victim: FederationService, received: list[Message[Any]]) -> None:
        # Another mid makes another envelope, so that the network's own memory of what it saw does not help.
        await mallory.gossip(mallory.body(to=None))
        await mallory.gossip(mallory.body(to=None, mid=bytes(16)))
        await until(lambda: received)
        assert len(received) == (1 if defended else 2)
        assert victim.stats()["dropped"] == ({"duplicate": 1} if defended else {})

    story()


@pytest.mark.parametrize("defended", [True, False])
def test_an_author_above_its_allowance_is_cut_short_and_pays(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not defended:
        monkeypatch.setattr(Allowances, "take", lambda *_: True)

    @leaping
    async def story() -> None:
        async with world() as w:
            victim = await w.start("victim", gossip_allowance=50)
            received: list[Message[Any]] = []
            victim.subscribe(NOTE, received.append)
            mallory = await Mallory.join(w, victim)
            await mallory.gossip(*(mallory.body(seq, to=None) for seq in range(1, 201)))
            await until(lambda: received)
            assert len(received) == (50 if defended else 200)
            assert victim.stats()["dropped"].get("over_allowance", 0) == (150 if defended else 0)
            await mallory.network.stop()

    story()


@leaping
async def test_a_stranger_that_is_admitted_and_then_silent_loses_its_place() -> None:
    async with world() as w:
        victim = await w.start("victim")
        mallory = await Mallory.join(w, victim)
        assert victim.connected_peers() == []
        await in_the_end(lambda: not victim._node.network.stats()["connections"])
        await mallory.network.stop()


@leaping
async def test_a_hello_of_another_major_version_is_refused_naming_both() -> None:
    async with world() as w:
        victim = await w.start("victim")
        stranger = Node(w.fabric.network(key(68)))
        hello = encode_join_hello(JoinHello(v=(2, 0), federation=FEDERATION.cid))
        await stranger.network.start(stranger, hello)
        await stranger.network.dial(None, [address.partition("/p2p/")[0] for address in victim.addresses])
        await rest(stranger)
        from covm.federation.network.interface import JoinRefused

        reason = stranger.heard(JoinRefused)[0].reason
        assert "2.0" in reason
        assert "1.0" in reason
        assert not stranger.heard(StreamOpened)
        assert stranger.heard(HelloReceived)
        await stranger.network.stop()
