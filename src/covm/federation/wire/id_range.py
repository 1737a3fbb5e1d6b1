"""The ids that a text can be the beginning of: people type a few characters of an id."""

from __future__ import annotations

from typing import Final

from covm import _native
from covm.federation.wire.member_id import COMMON, distinct

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_SIZE: Final = 36
"""Bytes of a binary CID."""

_CHARACTERS: Final = (8 * _SIZE + 4) // 5
"""Of one in base32, behind the `b` that says so."""


def ids_between(beginning: str) -> tuple[bytes, bytes] | None:
    """The lowest and the highest binary id whose text begins so, with or without what all ids begin with.

    None for what no id begins with, and for no more than what all do.
    """
    text = distinct(beginning.strip().lower())
    if not text or any(each not in _ALPHABET for each in text):
        return None
    known = COMMON[1:] + text
    if (left := _CHARACTERS - len(known)) < 0:
        return None
    lowest = 0
    for each in known:
        lowest = lowest << 5 | _ALPHABET.index(each)
    lowest <<= 5 * left
    highest = lowest | ((1 << 5 * left) - 1)
    spare = 5 * _CHARACTERS - 8 * _SIZE
    return (lowest >> spare).to_bytes(_SIZE, "big"), (highest >> spare).to_bytes(_SIZE, "big")


def link_of(text: str) -> _native.Link | None:
    """The id that a text is; None for what is none."""
    try:
        return _native.Link(text)
    except ValueError:
        return None
