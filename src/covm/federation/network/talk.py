"""What fits into the join exchange, the same on both networks: its HELLO, and what is said before the decision."""

from __future__ import annotations

from collections.abc import Sequence

from covm.federation.errors import MessageTooLarge
from covm.federation.wire.limits import MAX_JOIN_HELLO, MAX_JOIN_TALK, MAX_JOIN_TALK_AT_ONCE, MIN_JOIN_TALK_COUNTED


def check_hello(hello: bytes) -> None:
    """Raises `MessageTooLarge` for a HELLO that fits no frame."""
    if len(hello) > MAX_JOIN_HELLO:
        raise MessageTooLarge("the join HELLO", len(hello), MAX_JOIN_HELLO)


def counted(frame: bytes) -> int:
    """What a frame counts as against every bound on talk: its bytes, and tiny ones as more."""
    return max(len(frame), MIN_JOIN_TALK_COUNTED)


def check_talk(frames: Sequence[bytes]) -> int:
    """What these frames count as. Raises `MessageTooLarge` for what can never be said at once, `ValueError`."""
    for frame in frames:
        if not frame:
            raise ValueError("a TALK frame has at least one byte")
        if len(frame) > MAX_JOIN_TALK:
            raise MessageTooLarge("a TALK frame", len(frame), MAX_JOIN_TALK)
    size_bytes = sum(map(counted, frames))
    if size_bytes > MAX_JOIN_TALK_AT_ONCE:
        raise MessageTooLarge("what is said at once in a join", size_bytes, MAX_JOIN_TALK_AT_ONCE)
    return size_bytes
