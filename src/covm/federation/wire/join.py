"""The HELLO of the join stream `/covm/join/1.0.0`: all that a node tells a stranger.

A canonical DAG-CBOR map of at most 4,095 bytes: v [major, minor] · federation link · agent text · name text · process
bytes. Further keys are ignored. In `open` mode a node is let in when major version and federation are the same on both
sides.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from covm import _native
from covm.federation.wire.display import shown
from covm.federation.wire.limits import MAX_JOIN_HELLO, MAX_PROCESS
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.system import PROTOCOL_VERSION, Agent, Name, Version

__all__ = ["JoinHello", "Malformed", "decode_join_hello", "encode_join_hello", "refusal"]

Process = Annotated[bytes, Meta(max_length=MAX_PROCESS)]

_OUT = (bytes, _native.Link)
_IN = (bytes,)


class JoinHello(Struct, frozen=True, kw_only=True):
    """Who knocks. `agent` and `name` are only hints; `process` is drawn at each start."""

    v: Version = PROTOCOL_VERSION
    federation: _native.Link
    agent: Agent = ""
    name: Name = ""
    process: Process = b""


def encode_join_hello(hello: JoinHello) -> bytes:
    """The HELLO's bytes."""
    return _native.encode(msgspec.to_builtins(hello, builtin_types=_OUT))


def decode_join_hello(data: bytes) -> JoinHello:
    """The HELLO in these bytes, of whatever version. Raises `Malformed`."""
    if len(data) > MAX_JOIN_HELLO:
        raise Malformed(f"a HELLO of {len(data):,} bytes exceeds the limit of {MAX_JOIN_HELLO:,}")
    try:
        fields = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(str(error)) from None
    if type(fields) is not dict or not {"v", "federation"} <= fields.keys():
        raise Malformed("the HELLO does not say its version and federation")
    try:
        return msgspec.convert(fields, JoinHello, builtin_types=_IN)
    except msgspec.ValidationError as error:
        raise Malformed(f"the HELLO does not fit: {error}") from None


def refusal(ours: JoinHello, theirs: JoinHello) -> str | None:
    """Why a stranger is not let in, as a sentence for them; None when they are."""
    if ours.v[0] != theirs.v[0]:
        return (
            f"you speak version {theirs.v[0]}.{theirs.v[1]}, this node {ours.v[0]}.{ours.v[1]}; "
            "both must have the same major version: upgrade the older one"
        )
    if ours.federation != theirs.federation:
        return (
            f"you are of another federation ({shown(str(theirs.federation))}), this node is of {ours.federation}; "
            "set the same network on both"
        )
    return None
