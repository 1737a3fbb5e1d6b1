"""Frames of the direct stream `/covm/direct/1.0.0`.

A frame is a canonical DAG-CBOR map with its kind under `t`. A stream has an opener, who sends messages, and an
acceptor, who acknowledges them on its half of the same stream:

    hello      both      v [major, minor] · incarnation [number, nonce] · types: digest of the registry
                         opener: next, the number that its next message gets · acked [seq, mid] or null: what it
                         believes to be stored · outcomes_upto: the last outcome that it has on disk
                         acceptor, in answer: stored [seq, mid] or null · newer [number, nonce] or null: a higher
                         incarnation of the opener that it knows · outcomes above outcomes_upto, as in ack
    messages   opener    envelopes: list of signed envelopes, in sequence, skips among them
    ack        acceptor  upto [seq, mid] or null: everything up to there is stored
                         outcomes [number, first, last, mid of last, state, reason, rule or null]
                         trouble: why nothing more can be stored now; empty once it can
    confirm    opener    upto: outcomes up to this number are on its disk and need not be said again
    prove      opener    incarnation: show the last envelope that you hold of this incarnation of mine
    proof      acceptor  incarnation · envelope or null
    heartbeat  both      body: `system.heartbeat`
    peer_info  both      body: `system.peer_info`
    members_*  both      who is a member; see `wire.membership`

Unknown keys are ignored. A frame of an unknown kind decodes to `Unknown`, to be ignored.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from covm import _native
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import (
    MAX_FRAME,
    MAX_FRAME_MESSAGES,
    MAX_FRAME_OUTCOMES,
    MAX_UNKNOWN_KIND,
    MID_SIZE,
)
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import (
    JoinRequest,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembershipFrame,
    MembersKnown,
    MembersWant,
    RelayPass,
)
from covm.federation.wire.system import Count, Digest, Heartbeat, PeerInfo, Reason, Version

__all__ = [
    "Ack",
    "Confirm",
    "Frame",
    "Hello",
    "JoinRequest",
    "KnownFrame",
    "Malformed",
    "MembersAsk",
    "MembersGive",
    "MembersHave",
    "MembersKnown",
    "MembersWant",
    "Messages",
    "Outcome",
    "OutcomeState",
    "Position",
    "Proof",
    "Prove",
    "RelayPass",
    "Unknown",
    "decode_frame",
    "encode_frame",
]

Mid = Annotated[bytes, Meta(min_length=MID_SIZE, max_length=MID_SIZE)]
_PLAIN: Final = (bytes,)


class OutcomeState(StrEnum):
    """What became of a stored message."""

    HANDLED = "handled"
    """Every handler returned."""
    FAILED = "failed"
    """A handler failed for good."""
    REFUSED = "refused"
    """It was not taken, for good; the reason says why."""


class Position(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message by sequence and id, so that a claim about one cannot pass for a claim about another."""

    seq: Count
    mid: Mid


class Outcome(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What became of the messages `first` to `last`, all of it the same. Numbers count up along the line.

    A `state` that is not an `OutcomeState` comes from a newer node: ignore it. `rule` is the digest of the type's rule
    at the receiver, where the refusal follows from it: the sender decides by it whether that is final.
    """

    number: Count
    first: Count
    last: Count
    mid: Mid
    """The id of the message `last`, so that a claim about one cannot pass for a claim about another."""
    state: Annotated[str, Meta(min_length=1, max_length=32)]
    reason: Reason = ""
    rule: Digest | None = None


Outcomes = Annotated[list[Outcome], Meta(max_length=MAX_FRAME_OUTCOMES)]


class Hello(Struct, frozen=True, kw_only=True):
    """The first frame of each side."""

    v: Version
    incarnation: Incarnation
    types: Digest
    next: Count | None = None
    acked: Position | None = None
    outcomes_upto: Count = 0
    stored: Position | None = None
    newer: Incarnation | None = None
    outcomes: Outcomes = []


class Messages(Struct, frozen=True):
    """Signed envelopes, in sequence."""

    envelopes: Annotated[list[bytes], Meta(min_length=1, max_length=MAX_FRAME_MESSAGES)]


class Ack(Struct, frozen=True, kw_only=True):
    """Everything up to and with `upto` is stored at the receiver; None: nothing new.

    `trouble` says why it can store nothing for now, for people to read; empty when it can.
    """

    upto: Position | None = None
    outcomes: Outcomes = []
    trouble: Reason = ""


class Confirm(Struct, frozen=True):
    """The outcomes up to this number are on the opener's disk."""

    upto: Count


class Prove(Struct, frozen=True):
    """The opener asks for the last envelope of this incarnation of its own that the acceptor holds."""

    incarnation: Incarnation


class Proof(Struct, frozen=True, kw_only=True):
    """The acceptor's answer to `Prove`; null when it holds none."""

    incarnation: Incarnation
    envelope: bytes | None = None


class Unknown(Struct, frozen=True):
    """A frame of a kind that this node does not know."""

    t: str


KnownFrame = Hello | Messages | Ack | Confirm | Prove | Proof | Heartbeat | PeerInfo | MembershipFrame
Frame = KnownFrame | Unknown

_KINDS: Final[dict[type, str]] = {
    Hello: "hello",
    Messages: "messages",
    Ack: "ack",
    Confirm: "confirm",
    Prove: "prove",
    Proof: "proof",
    MembersAsk: "members_ask",
    MembersHave: "members_have",
    MembersWant: "members_want",
    MembersGive: "members_give",
    MembersKnown: "members_known",
    JoinRequest: "join_request",
    RelayPass: "relay_pass",
}
_BODIES: Final[dict[type, str]] = {Heartbeat: "heartbeat", PeerInfo: "peer_info"}
_DIRECT: Final[dict[str, type]] = {kind: struct for struct, kind in _KINDS.items()}
_IN_BODY: Final[dict[str, type]] = {kind: struct for struct, kind in _BODIES.items()}


def encode_frame(frame: KnownFrame) -> bytes:
    """The frame's bytes. Raises `ValueError` for what `decode_frame` would refuse: whoever fills frames counts."""
    if isinstance(frame, Messages):
        if not 1 <= len(frame.envelopes) <= MAX_FRAME_MESSAGES:
            raise ValueError(f"a frame takes 1 to {MAX_FRAME_MESSAGES:,} messages, not {len(frame.envelopes):,}")
        fields: dict[str, Any] = {"t": "messages", "envelopes": frame.envelopes}
    else:
        fields = _fields(frame)
    encoded = _native.encode(fields)
    if len(encoded) > MAX_FRAME:
        raise ValueError(f"a frame of {len(encoded):,} bytes exceeds the limit of {MAX_FRAME:,}")
    return encoded


def decode_frame(data: bytes) -> Frame:
    """The frame in these bytes. Raises `Malformed`."""
    if len(data) > MAX_FRAME:
        raise Malformed(f"a frame of {len(data):,} bytes exceeds the limit of {MAX_FRAME:,}")
    try:
        fields = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(str(error)) from None
    if type(fields) is not dict:
        raise Malformed("the frame is not a map")
    kind = fields.get("t")
    if type(kind) is not str:
        raise Malformed("the frame does not say its kind")
    try:
        if (struct := _DIRECT.get(kind)) is not None:
            return msgspec.convert(fields, struct, builtin_types=_PLAIN)
        if (struct := _IN_BODY.get(kind)) is not None:
            return msgspec.convert(fields.get("body"), struct, builtin_types=_PLAIN)
    except msgspec.ValidationError as error:
        raise Malformed(f"a {kind} frame does not fit: {error}") from None
    return Unknown(kind[:MAX_UNKNOWN_KIND])


def _fields(frame: KnownFrame) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(frame, builtin_types=_PLAIN)
    # Once a frame, not once a message. (A `ValidationError` is a `ValueError`.)
    msgspec.convert(plain, type(frame), builtin_types=_PLAIN)
    if (kind := _KINDS.get(type(frame))) is not None:
        return {"t": kind, **plain}
    return {"t": _BODIES[type(frame)], "body": plain}
