"""Bytes that no honest node makes: envelopes framed or signed otherwise, bodies with hostile payloads in them.

The core signs in one domain and one form only, so an attacker needs signing of its own: Ed25519 as in RFC 8032,
section 5.1, in plain integers. It is slow and leaks its key through time, which does not matter to an attacker's key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from covm import _native
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, encode_body

DOMAIN = b"covm-federation-v1"

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, FIELD) % FIELD
_BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    4 * pow(5, -1, FIELD) % FIELD,
)

Point = tuple[int, int]


def varint(number: int) -> bytes:
    """Unsigned LEB128, the shortest form."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


@dataclass(frozen=True)
class Envelope:
    """A signed envelope (libp2p RFC 0002) taken apart."""

    key: bytes
    kind: bytes
    payload: bytes
    signature: bytes

    @classmethod
    def read(cls, envelope: bytes) -> Envelope:
        found: dict[int, bytes] = {}
        at = 0
        while at < len(envelope):
            number, at = envelope[at] >> 3, at + 1
            length = shift = 0
            while True:
                byte, at = envelope[at], at + 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            found[number], at = envelope[at : at + length], at + length
        return cls(found[1], found[2], found[3], found[5])

    @property
    def parts(self) -> list[bytes]:
        return [field(1, self.key), field(2, self.kind), field(3, self.payload), field(5, self.signature)]

    def encode(self) -> bytes:
        return b"".join(self.parts)


def reframings(envelope: bytes) -> dict[str, bytes]:
    """The same message, by the same key, in bytes that are not its one encoding."""
    opened = Envelope.read(envelope)
    key, kind, payload, signature = opened.parts
    length = varint(len(opened.payload))
    padded = b"\x1a" + length[:-1] + bytes([length[-1] | 0x80]) + b"\x00" + opened.payload
    scalar = int.from_bytes(opened.signature[32:], "little") + ORDER
    shifted = replace(opened, signature=opened.signature[:32] + scalar.to_bytes(32, "little"))
    return {
        "an unknown field behind": envelope + field(15, b"extra"),
        "an unknown field in front": field(15, b"extra") + envelope,
        "fields in another order": kind + key + payload + signature,
        "a field twice": key + kind + kind + payload + signature,
        "a length with a padded varint": key + kind + padded + signature,
        "a signature plus the order of the group": shifted.encode(),
    }


def encoded_with(body: MessageBody, payload: bytes) -> bytes:
    """The body's bytes with raw bytes in the place of its payload."""
    mark = b"\x78\x20" + b"the payload stands in this place"
    spelled = encode_body(_with_payload(body, mark[2:].decode()))
    assert spelled.count(mark) == 1
    return spelled.replace(mark, payload)


def _with_payload(body: MessageBody, payload: object) -> MessageBody:
    import msgspec

    return msgspec.structs.replace(body, payload=payload)


def sealed_elsewhere(seed: bytes, payload: bytes, *, domain: bytes = DOMAIN, chance: bytes | None = None) -> bytes:
    """An envelope signed in any domain; with `chance`, under a nonce of one's own, so that the same message has as
    many valid signatures as its author likes."""
    key = b"\x08\x01" + field(2, public_key(seed))
    kind = Kind.MESSAGE.value.encode()
    signed = b"".join(varint(len(part)) + part for part in (domain, kind, payload))
    return Envelope(key, kind, payload, sign(seed, signed, chance)).encode()


def public_key(seed: bytes) -> bytes:
    return _packed(_times(_BASE, _secret(seed)[0]))


def sign(seed: bytes, message: bytes, chance: bytes | None = None) -> bytes:
    scalar, prefix = _secret(seed)
    nonce = _number(hashlib.sha512((prefix if chance is None else chance) + message).digest())
    point = _packed(_times(_BASE, nonce))
    challenge = _number(hashlib.sha512(point + public_key(seed) + message).digest())
    return point + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def _secret(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    return scalar, digest[32:]


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "little") % ORDER


def _plus(a: Point, b: Point) -> Point:
    product = _D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, FIELD)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, FIELD)
    return x % FIELD, y % FIELD


def _times(point: Point, number: int) -> Point:
    total = (0, 1)
    while number:
        if number & 1:
            total = _plus(total, point)
        point = _plus(point, point)
        number >>= 1
    return total


def _packed(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def opens(envelope: bytes) -> bool:
    """Whether the core takes the envelope for a signed message."""
    return not isinstance(_native.open_envelopes(Kind.MESSAGE.value, [envelope])[0], str)
