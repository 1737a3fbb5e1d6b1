"""Incarnations: one life of a node, from a start to the next, so that sequence numbers may begin anew."""

from __future__ import annotations

from typing import Annotated

import msgspec

from covm.federation.clock import Random
from covm.federation.wire.limits import MAX_INTEGER, NONCE_SIZE


class Incarnation(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """Ordered by number, then nonce; on the wire `[number, nonce]`."""

    number: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_SIZE, max_length=NONCE_SIZE)]

    def __str__(self) -> str:
        return f"{self.number}-{self.nonce.hex()}"


def next_incarnation(now_ms: int, last_number: int, random: Random) -> Incarnation:
    """An incarnation above every earlier one.

    The number is the larger of the time and one more than `last_number`, the highest known of one's own (-1 when
    there is none), so a clock that once ran ahead cannot mute what comes after it.
    """
    number = min(max(now_ms, last_number + 1), MAX_INTEGER)
    return Incarnation(number=number, nonce=random.bytes(NONCE_SIZE))
