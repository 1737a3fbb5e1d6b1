"""What the rules answer: a status, and a sentence that says why."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from covm import _native

_SHORT: Final = 20
"""Characters of a shortened id: the first seven of a CID are the same for all."""


class Status(StrEnum):
    """What becomes of what was judged."""

    VALID = "valid"
    """It counts."""
    WAITING = "waiting"
    """It may count once more arrives: what it builds on, or more approvals."""
    VOID = "void"
    """It has its place, and counts for nothing."""
    ENDED = "ended"
    """It counted, and a removal ended it."""
    REFUSED = "refused"
    """It breaks a rule by itself: nothing that arrives can mend it."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A status with its reason, a sentence for people in which nothing of others stands unescaped."""

    status: Status
    reason: str
    missing: tuple[_native.Link, ...] = ()
    """The ids of what has to be here for another verdict, when it is known."""

    @property
    def holds(self) -> bool:
        """Whether it counts."""
        return self.status is Status.VALID


def valid(reason: str) -> Verdict:
    return Verdict(Status.VALID, reason)


def waiting(reason: str, *missing: _native.Link) -> Verdict:
    return Verdict(Status.WAITING, reason, missing)


def void(reason: str) -> Verdict:
    return Verdict(Status.VOID, reason)


def ended(reason: str) -> Verdict:
    return Verdict(Status.ENDED, reason)


def refused(reason: str) -> Verdict:
    return Verdict(Status.REFUSED, reason)


def short(id: _native.Link | str) -> str:
    """The beginning of an id, for a sentence."""
    text = str(id)
    return text if len(text) <= _SHORT else text[:_SHORT] + "…"
