"""What nodes tell each other of the peers that they are connected with: a frame of the direct stream.

All of it is hearsay. Who is told of a peer dials it as whatever else discovery found, and the handshake decides who it
is.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from covm import _native
from covm.federation.wire.limits import MAX_ADDRESS, MAX_PEER_ID

MAX_HINTS: Final = 32
"""Peers in one frame: a small federation in one piece, and no more of a large one than can be dialled in a moment."""

MAX_HINT_ADDRESSES: Final = 8
"""Addresses of each, as many as an address book keeps: TCP and QUIC on some interfaces, and through relays."""

Address = Annotated[str, Meta(min_length=1, max_length=MAX_ADDRESS)]


class PeerHint(Struct, frozen=True, kw_only=True):
    """A peer that the sender is connected with, and where it may be found."""

    peer: Annotated[str, Meta(min_length=1, max_length=MAX_PEER_ID)]
    """Its id, base58."""
    addresses: Annotated[list[Address], Meta(min_length=1, max_length=MAX_HINT_ADDRESSES)]
    """Multiaddrs at which the sender reached it, and then those that it says of itself; without a peer id."""

    def __post_init__(self) -> None:
        # Raised while a frame is decoded, it makes the frame malformed: nobody who is honest names what can be nobody.
        if _native.parse_peer_id(self.peer) != self.peer:
            raise ValueError(f"{self.peer!r} is no peer id in base58")


class PeerHints(Struct, frozen=True):
    """Some of the peers that the sender is connected with."""

    peers: Annotated[list[PeerHint], Meta(min_length=1, max_length=MAX_HINTS)]
