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
class UnknownSyncType(SyncError):
    """No sync type of this name was registered, and nothing of a type that is called so is known."""

    name: str

    def __str__(self) -> str:
        return (
            f"there is no sync type {shown(self.name)!r} here, and neither this node nor a connected peer holds "
            "anything of a type that is called so"
        )


@dataclass(eq=False)
class UnknownEntry(SyncError):
    """Nothing is held under this key, or with this id."""

    type: str
    key: str

    def __str__(self) -> str:
        return f"there is nothing of {self.type} under {shown(self.key)!r} here"
