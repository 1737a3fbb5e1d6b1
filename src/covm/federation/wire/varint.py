"""Unsigned LEB128, as Protocol Buffers and content archives write lengths: in the fewest bytes, nine at most."""

from __future__ import annotations

from typing import Final

MAX_VARINT: Final = 9
"""Bytes of the longest: 63 bits, as multiformats have it."""


class NotMinimal(ValueError):
    """These bytes are no number, or one that is not in its shortest form."""


def varint(number: int) -> bytes:
    """A number's bytes."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def read_varint(data: bytes, at: int = 0) -> tuple[int, int]:
    """The number that begins at a place, and the place behind it. Raises `NotMinimal`."""
    number = 0
    for index, byte in enumerate(data[at : at + MAX_VARINT]):
        number |= (byte & 0x7F) << (7 * index)
        if byte <= 0x7F:
            if index and not byte:
                raise NotMinimal("a number is longer than it need be")
            return number, at + index + 1
    raise NotMinimal("a number goes on without end" if len(data) - at >= MAX_VARINT else "a number is cut off")
