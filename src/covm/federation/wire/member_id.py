"""Ids of members: CIDs of inceptions, in base32."""

from __future__ import annotations

from typing import Final

COMMON: Final = "bafyrei"
"""What every CIDv1 of dag-cbor and sha2-256 begins with in base32, and no peer id does."""


def is_member_id(text: str) -> bool:
    """Whether a text can be a member's id; no peer id is taken for one."""
    return text.startswith(COMMON)


def distinct(member: str) -> str:
    """The part of an id that tells it from others, from its first distinct character on."""
    return member.removeprefix(COMMON)
