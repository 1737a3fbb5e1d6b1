"""What a peer's line tells its streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from covm.federation.dispatch.inbox import Judgement
from covm.federation.errors import StoreError, StoreFull
from covm.federation.wire.frames import Outcome, Position
from covm.federation.wire.incarnation import Incarnation


class Stream(Protocol):
    """One stream of the peer. (Receiver)"""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it matters any more."""

    def greeted_with(self, greeting: Greeting) -> None:
        """Its HELLO was understood: this is the answer."""

    def took(self, judgement: Judgement, size_bytes: int) -> None:
        """What it brought is on disk, as far as it was fit; credit for that many bytes is due."""

    def troubled(self, why: str) -> None:
        """What it brought cannot be stored now; it is tried again."""

    def proved(self, incarnation: Incarnation, envelope: bytes | None) -> None:
        """What it asked to be shown."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes were committed."""

    def fetched(self, outcomes: Sequence[Outcome], *, is_all: bool) -> None:
        """What the store has of outcomes above those that were said."""

    def look(self) -> None:
        """There may be outcomes in the store of which nobody told."""

    def violated(self, reason: str) -> None:
        """It did what no honest peer does."""

    def failed(self) -> None:
        """A fault of ours ended the taking of it."""


class Greeting(NamedTuple):
    """How the answer to a HELLO is filled."""

    stored: Position | None
    newer: Incarnation | None
    said_upto: int
    outcomes: list[Outcome]
    is_all: bool


def trouble_of(error: StoreError) -> str:
    """What a sender is told while what it sent cannot be stored; the details are for the operator here."""
    return "its disk is full" if isinstance(error, StoreFull) else "its store cannot be written now"
