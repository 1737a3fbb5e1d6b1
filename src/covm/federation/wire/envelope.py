"""A signed envelope in its parts, so that what it signs can stand for itself in a file. Verifies nothing.

The form is that of libp2p's RFC 0002 with its fields in order and each once; see `docs/wire-format.md`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from covm.federation.wire.malformed import Malformed
from covm.federation.wire.varint import NotMinimal, read_varint, varint

_TAGS: Final = (0x0A, 0x12, 0x1A, 0x2A)
"""Fields 1, 2, 3 and 5, each bytes behind their length."""


class EnvelopeParts(NamedTuple):
    """What an envelope says."""

    public_key: bytes
    """As libp2p encodes it, with its kind."""
    kind: str
    payload: bytes
    signature: bytes


def parts_of(envelope: bytes) -> EnvelopeParts:
    """Takes an envelope apart. Raises `Malformed` for one that `envelope_of` would not put together so."""
    found, at = [], 0
    for tag in _TAGS:
        if envelope[at : at + 1] != bytes([tag]):
            raise Malformed("the envelope's fields are not in order, or one of them is not there")
        try:
            size, at = read_varint(envelope, at + 1)
        except NotMinimal as error:
            raise Malformed(f"a field of the envelope has no length: {error}") from None
        if at + size > len(envelope):
            raise Malformed("the envelope ends within a field")
        found.append(envelope[at : at + size])
        at += size
    if at != len(envelope):
        raise Malformed("there is something behind the envelope")
    public_key, kind, payload, signature = found
    try:
        return EnvelopeParts(public_key, kind.decode("ascii"), payload, signature)
    except UnicodeDecodeError:
        raise Malformed("the kind of the envelope is no text") from None


def envelope_of(parts: EnvelopeParts) -> bytes:
    """The envelope with these parts, byte for byte."""
    fields = (parts.public_key, parts.kind.encode("ascii"), parts.payload, parts.signature)
    return b"".join(bytes([tag]) + varint(len(field)) + field for tag, field in zip(_TAGS, fields, strict=True))
