"""Frames of the direct stream and the HELLO to strangers."""

from __future__ import annotations

from typing import Any

import pytest

from covm import _native
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import (
    Ack,
    Confirm,
    Hello,
    JoinRequest,
    Malformed,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembersKnown,
    MembersWant,
    Messages,
    Outcome,
    OutcomeState,
    Position,
    Proof,
    Prove,
    RelayPass,
    Unknown,
    decode_frame,
    encode_frame,
)
from covm.federation.wire.hints import PeerHint, PeerHints
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.join import JoinHello, decode_join_hello, encode_join_hello, refusal
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD, MAX_FRAME, MAX_JOIN_HELLO, MAX_PROCESS
from covm.federation.wire.system import Heartbeat, PeerInfo

MID = b"sixteen bytes id"
LIFE = Incarnation(7, b"nonce-of")
DIGEST = bytes(32)
SOMEBODY = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
HINT = {"peer": SOMEBODY, "addresses": ["/ip4/127.0.0.1/tcp/1"]}
PEER_HINTS = PeerHints([PeerHint(peer=SOMEBODY, addresses=["/ip4/127.0.0.1/tcp/1"])] * 32)
FRAMES: list[Any] = [
    Hello(v=(1, 0), incarnation=LIFE, types=DIGEST, next=4, acked=Position(3, MID), outcomes_upto=2),
    Hello(
        v=(1, 0),
        incarnation=LIFE,
        types=DIGEST,
        stored=Position(3, MID),
        newer=Incarnation(8, b"nonce-on"),
        outcomes=[Outcome(1, 1, 3, MID, "handled")],
    ),
    Messages([b"one", b"two"]),
    Ack(upto=Position(2**63 - 1, MID)),
    Ack(outcomes=[Outcome(1, 1, 1, MID, OutcomeState.REFUSED, "does not fit", DIGEST), Outcome(2, 2, 9, MID, "newer")]),
    Heartbeat(sequence=0, sent_at=1),
    Heartbeat(sequence=5, sent_at=9, reply_to=4, received_at=8, load=1000),
    PeerInfo(name="ada", version="covm/0.1", addresses=["/ip4/127.0.0.1/tcp/1"], capabilities=[], types_digest=DIGEST),
    Confirm(7),
    Prove(LIFE),
    Proof(incarnation=LIFE, envelope=b"signed"),
    Proof(incarnation=LIFE),
    Ack(trouble="its disk is full"),
    Heartbeat(sequence=1, sent_at=2, membership=DIGEST),
    MembersAsk(buckets=bytes(4096)),
    MembersAsk(buckets=bytes(4096), after=DIGEST, charter=True),
    MembersHave(ids=[DIGEST], more=True, charter=[b"signed"]),
    MembersWant(ids=[DIGEST]),
    MembersGive(entries=[b"one"], credentials=[b"two"], approvals=[b"three"]),
    MembersKnown(),
    PEER_HINTS,
    JoinRequest(invite=MID, secret=DIGEST, entries=[b"signed"]),
    RelayPass(grant=b"signed", proof=b"signed too"),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_comes_back_as_it_was_sent(frame: Any) -> None:
    assert decode_frame(encode_frame(frame)) == frame


def changed(frame: Any, **changes: Any) -> bytes:
    fields = _native.decode(encode_frame(frame))
    assert isinstance(fields, dict)
    return _native.encode(fields | changes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xf6",
        _native.encode([1]),
        _native.encode({}),
        _native.encode({"t": 5}),
        _native.encode({"t": "messages"}),
        _native.encode({"t": "heartbeat"}),
        changed(Messages([b"x"]), envelopes=[]),
        changed(Messages([b"x"]), envelopes=["eA=="]),
        changed(Messages([b"x"]), envelopes=[b"x"] * 4097),
        changed(FRAMES[0], v=[1]),
        changed(FRAMES[0], v=[1, 0, 0]),
        changed(FRAMES[0], types=bytes(31)),
        changed(FRAMES[0], incarnation=None),
        changed(Ack(), upto=[1]),
        changed(Ack(), upto=[-1, MID]),
        changed(Ack(), upto=[1, MID, 2]),
        changed(Ack(), trouble="x" * 257),
        changed(Ack(), outcomes=[[1, 1, 1, MID, "handled", "x" * 257]]),
        changed(Ack(), outcomes=[[1, 1, 1, MID, "refused", "", bytes(31)]]),
        changed(Ack(), outcomes=[[1, 1, 1, MID, "refused", "no\0\n"]]),
        changed(Ack(), trouble="\0"),
        changed(Confirm(1), upto=-1),
        changed(Prove(LIFE), incarnation=[1]),
        changed(Proof(incarnation=LIFE), envelope="text"),
        changed(FRAMES[5], body={"sequence": 0, "sent_at": 1, "load": 1001}),
        changed(FRAMES[7], body={"name": "x" * 65}),
        changed(PEER_HINTS, peers=[]),
        changed(PEER_HINTS, peers=[HINT] * 33),
        changed(PEER_HINTS, peers=[HINT | {"addresses": []}]),
        changed(PEER_HINTS, peers=[HINT | {"addresses": ["/ip4/127.0.0.1/tcp/1"] * 9}]),
        changed(PEER_HINTS, peers=[HINT | {"addresses": ["x" * 257]}]),
        changed(PEER_HINTS, peers=[HINT | {"peer": "x" * 65}]),
        changed(PEER_HINTS, peers=[HINT | {"peer": "x0"}]),
        changed(MembersAsk(buckets=bytes(4096)), buckets=bytes(4095)),
        changed(MembersAsk(buckets=bytes(4096)), after=bytes(31)),
        changed(MembersHave(), ids=[bytes(33)]),
        changed(MembersHave(), ids=[DIGEST] * 4097),
        changed(MembersWant(ids=[DIGEST]), ids=[]),
        changed(MembersWant(ids=[DIGEST]), ids=[DIGEST] * 513),
        changed(MembersGive(), entries=[b""]),
        changed(MembersGive(), approvals=[b"x"] * 513),
        changed(JoinRequest(invite=MID, secret=DIGEST, entries=[b"x"]), secret=bytes(31)),
        changed(JoinRequest(invite=MID, secret=DIGEST, entries=[b"x"]), entries=[b"x"] * 65),
    ],
    ids=lambda data: data[:24].hex(),
)
def test_a_frame_that_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_frame(data)


def test_a_frame_of_an_unknown_kind_is_left_to_be_ignored() -> None:
    assert decode_frame(_native.encode({"t": "hologram", "x": 1})) == Unknown("hologram")
    assert decode_frame(_native.encode({"t": "x" * 1000})) == Unknown("x" * 32)


def test_unknown_keys_in_a_frame_are_ignored() -> None:
    assert decode_frame(changed(Ack(), later=1)) == Ack()


def test_the_largest_message_fits_a_frame_and_a_larger_frame_is_refused_on_both_sides() -> None:
    largest = Messages([bytes(MAX_DIRECT_PAYLOAD + 2048)])
    assert decode_frame(encode_frame(largest)) == largest
    with pytest.raises(ValueError, match="exceeds the limit"):
        encode_frame(Messages([bytes(MAX_FRAME)]))
    with pytest.raises(Malformed, match="exceeds the limit"):
        decode_frame(bytes(MAX_FRAME + 1))


OURS = JoinHello(federation=open_federation("covm").cid, agent="covm/0.1", name="ada")


def test_a_hello_comes_back_as_it_was_said() -> None:
    assert decode_join_hello(encode_join_hello(OURS)) == OURS


def test_the_longest_hello_fits_the_join_stream() -> None:
    longest = JoinHello(
        v=(65535, 65535), federation=OURS.federation, agent="é" * 64, name="🥖" * 64, process=bytes(MAX_PROCESS)
    )
    assert len(encode_join_hello(longest)) <= MAX_JOIN_HELLO


def test_the_same_federation_is_let_in() -> None:
    assert refusal(OURS, JoinHello(v=(1, 7), federation=OURS.federation, name="bea")) is None


def test_another_major_version_is_refused_naming_both() -> None:
    assert "version 2.1, this node 1.0" in (refusal(OURS, JoinHello(v=(2, 1), federation=OURS.federation)) or "")


def test_another_network_is_refused_naming_both() -> None:
    theirs = JoinHello(federation=open_federation("bakers").cid)
    told = refusal(OURS, theirs) or ""
    assert str(theirs.federation) in told
    assert str(OURS.federation) in told
    assert len(told.encode()) <= 256


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _native.encode({"federation": OURS.federation}),
        _native.encode({"v": [1, 0]}),
        _native.encode({"v": [1], "federation": OURS.federation}),
        _native.encode({"v": [1, 0], "federation": "covm"}),
        _native.encode({"v": [1, 0], "federation": OURS.federation, "name": "x" * 65}),
        _native.encode({"v": [1, 0], "federation": OURS.federation, "later": "x" * 4096}),
    ],
    ids=lambda data: data[:24].hex(),
)
def test_a_hello_that_does_not_fit_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_join_hello(data)


def test_a_join_request_shows_no_secret() -> None:
    secret = b"never to be seen, not in any way"
    request = JoinRequest(invite=MID, secret=secret, entries=[b"signed"])
    assert repr(secret)[2:20] not in repr(request)
    assert secret.hex() not in repr(request)
