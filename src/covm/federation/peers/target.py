"""What an operator may name as a peer: a peer id, or an address with or without one at its end."""

from __future__ import annotations

from covm import _native
from covm.federation.errors import InvalidAddress
from covm.federation.wire.multiaddr import why_unroutable


def parse_address(text: str) -> tuple[str, str | None]:
    """The multiaddr without a peer id, and the peer id at its end. Raises `InvalidAddress`."""
    try:
        address, peer = _native.parse_multiaddr(text)
    except ValueError as error:
        raise InvalidAddress(text, str(error)) from None
    if not address:
        raise InvalidAddress(text, "it names a peer and no place; where the peer is known, its id alone is enough")
    return address, peer


def parse_peer_id(text: str) -> str:
    """The peer id in base58. Raises `InvalidAddress`."""
    try:
        return _native.parse_peer_id(text)
    except ValueError as error:
        raise InvalidAddress(text, f"it is neither an address nor a peer id: {error}") from None


def parse_dialled(text: str) -> tuple[str, str | None]:
    """As `parse_address`, for one that is to be dialled. Raises `InvalidAddress` where nobody ever can be."""
    address, peer = parse_address(text)
    if why := why_unroutable(address, near=True):
        raise InvalidAddress(text, why)
    return address, peer
