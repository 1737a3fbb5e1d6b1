"""Frames of the direct stream `/covm/direct/1.0.0`.

A frame is a canonical DAG-CBOR map with its kind under `t`. A stream has an opener, who sends messages, and an
acceptor, who acknowledges them on its half of the same stream:

    hello      both      v [major, minor] · incarnation [number, nonce] · types: digest of the registry
                         opener: first, the lowest sequence that it still holds unacknowledged, or its next one
                         acceptor, in answer: stored [seq, mid] or null · outcomes since, as in ack
    messages   opener    envelopes: list of signed envelopes, in sequence
    ack        acceptor  upto [seq, mid] or null: everything up to there is stored · outcomes [seq, mid, state, reason]
    heartbeat  both      body: `system.heartbeat`
    peer_info  both      body: `system.peer_info`

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
    MAX_REASON,
    MAX_UNKNOWN_KIND,
    MID_SIZE,
)
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.system import Count, Digest, Heartbeat, PeerInfo, Version

__all__ = [
    "Ack",
    "Frame",
    "Hello",
    "KnownFrame",
    "Malformed",
    "Messages",
    "Outcome",
    "OutcomeState",
    "Position",
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
    """What became of one message. A `state` that is not an `OutcomeState` comes from a newer node: ignore it."""

    seq: Count
    mid: Mid
    state: Annotated[str, Meta(min_length=1, max_length=32)]
    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""


Outcomes = Annotated[list[Outcome], Meta(max_length=MAX_FRAME_OUTCOMES)]


class Hello(Struct, frozen=True, kw_only=True):
    """The first frame of each side."""

    v: Version
    incarnation: Incarnation
    types: Digest
    first: Count | None = None
    stored: Position | None = None
    outcomes: Outcomes = []


class Messages(Struct, frozen=True):
    """Signed envelopes, in sequence."""

    envelopes: Annotated[list[bytes], Meta(min_length=1, max_length=MAX_FRAME_MESSAGES)]


class Ack(Struct, frozen=True, kw_only=True):
    """Everything up to and with `upto` is stored at the receiver; None: nothing new."""

    upto: Position | None = None
    outcomes: Outcomes = []


class Unknown(Struct, frozen=True):
    """A frame of a kind that this node does not know."""

    t: str


KnownFrame = Hello | Messages | Ack | Heartbeat | PeerInfo
Frame = KnownFrame | Unknown

_KINDS: Final[dict[type, str]] = {Hello: "hello", Messages: "messages", Ack: "ack"}
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


def _fields(frame: Hello | Ack | Heartbeat | PeerInfo) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(frame, builtin_types=_PLAIN)
    # Once a frame, not once a message. (A `ValidationError` is a `ValueError`.)
    msgspec.convert(plain, type(frame), builtin_types=_PLAIN)
    if (kind := _KINDS.get(type(frame))) is not None:
        return {"t": kind, **plain}
    return {"t": _BODIES[type(frame)], "body": plain}
