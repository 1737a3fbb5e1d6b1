"""The federation's own message types: `system.heartbeat` and `system.peer_info`.

Both travel as frames of the direct stream, unacknowledged and unsigned: the stream itself proves who says them.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from covm.federation.wire.limits import (
    DIGEST_SIZE,
    MAX_ADDRESS,
    MAX_ADDRESSES,
    MAX_AGENT,
    MAX_CAPABILITIES,
    MAX_CAPABILITY,
    MAX_INTEGER,
    MAX_NAME,
    MAX_REASON,
    MAX_TIME_MS,
)
from covm.federation.wire.message_type import message_type

PROTOCOL_VERSION: Final = (1, 0)
"""(major, minor) of everything between nodes. Another major is refused; a minor only adds what may be ignored."""

FULL_LOAD: Final = 1000
"""The most that a node says of its load, in thousandths."""

Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Milliseconds = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
Name = Annotated[str, Meta(max_length=MAX_NAME)]
Agent = Annotated[str, Meta(max_length=MAX_AGENT)]
Reason = Annotated[str, Meta(max_length=MAX_REASON, pattern=r"\A[^\0]*\Z")]
"""It is kept, and PostgreSQL holds no text with a NUL in it."""
Digest = Annotated[bytes, Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
VersionPart = Annotated[int, Meta(ge=0, le=65535)]
Version = tuple[VersionPart, VersionPart]


@message_type("system.heartbeat")
class Heartbeat(Struct, frozen=True, kw_only=True):
    """A sign of life that answers the peer's last one: from four times follow round trip and clock offset."""

    sequence: Count
    """Counts this sender's heartbeats to this peer up from 0."""
    sent_at: Milliseconds
    reply_to: Count | None = None
    """`sequence` of the last heartbeat that the peer sent; None before the first."""
    received_at: Milliseconds | None = None
    """When that one came, by the clock that `sent_at` is read from."""
    load: Annotated[int, Meta(ge=0, le=FULL_LOAD)] = 0
    """How busy the node is, in thousandths."""
    membership: Digest | None = None
    """Of what it knows of who is a member: two nodes that differ exchange what one of them lacks."""


@message_type("system.peer_info")
class PeerInfo(Struct, frozen=True, kw_only=True):
    """What a node says about itself when it connects and when it changes. Only hints: nothing here is proven."""

    name: Name
    """The shown name, not unique. Show it through `covm.federation.wire.display.shown`."""
    version: Agent
    """Version of the software."""
    addresses: Annotated[list[Annotated[str, Meta(max_length=MAX_ADDRESS)]], Meta(max_length=MAX_ADDRESSES)]
    capabilities: Annotated[list[Annotated[str, Meta(max_length=MAX_CAPABILITY)]], Meta(max_length=MAX_CAPABILITIES)]
    types_digest: Digest
    """`TypeRegistry.digest()`: when it equals one's own, both know the same types."""
    protocol: Version = PROTOCOL_VERSION
