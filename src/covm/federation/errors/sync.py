"""What can go wrong between replicas."""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.errors.root import FederationError
from covm.federation.wire.display import shown


class SyncError(FederationError):
    """Replicas could not be brought together, or what was asked of shared data does not fit."""


@dataclass(eq=False)
class SyncInterrupted(SyncError):
    """A peer was not asked to the end; what had come is kept, and the next time goes on from there."""

    type: str
    peer: str
    why: str

    def __str__(self) -> str:
        what = f"syncing {self.type}" if self.type else "syncing"
        return f"{what} with {self.peer} was interrupted: {self.why}; it goes on when the peer is there"


@dataclass(eq=False)
class BodyUnavailable(SyncError):
    """The body of a record is not here, and no connected peer that may read it gave it."""

    type: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"the value of {shown(self.key)!r} of {self.type} is not here and could not be fetched: {self.why}"


@dataclass(eq=False)
class UnknownEntry(SyncError):
    """Nothing is held under this key, or with this id."""

    type: str
    key: str

    def __str__(self) -> str:
        return f"there is nothing of {self.type} under {shown(self.key)!r} here"
