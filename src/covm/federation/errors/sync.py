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
class QuotaExceeded(SyncError):
    """A member has as much of a type on this node as it may have; nothing was written."""

    type: str
    member: str
    """Its id; in `open` mode the peer id of its node."""
    used: int
    limit: int
    unit: str
    """`records` or `bytes`."""

    def __str__(self) -> str:
        setting = "record_quota_bytes" if self.unit == "bytes" else "record_quota"
        room = "erase what is not needed any more, or " if self.unit == "bytes" else ""
        return (
            f"{self.member} has {self.used:,} {self.unit} of {self.type} on this node, and a member may have "
            f"{self.limit:,} here: nothing was written; {room}raise {setting} on this node and the others"
        )


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
class SyncStoreBusy(SyncError):
    """The application's store of a sync type does not return from `apply`; it is waited for all the same."""

    name: str
    type: str
    key: str
    busy_s: float

    def __str__(self) -> str:
        return (
            f"the store of the sync type {self.name} has been busy with {shown(self.key)!r} of {self.type} for "
            f"{self.busy_s:.0f} s and more: nothing behind it is applied until its `apply` returns or raises; see what "
            "it waits for, and ask again"
        )


@dataclass(eq=False)
class UnknownCursor(SyncError):
    """A cursor is ahead of all that this node has found: it is another node's, or from before a restore."""

    type: str
    cursor: int
    last: int

    def __str__(self) -> str:
        return (
            f"the cursor {self.cursor} in the changes of {self.type} is ahead of this node, whose last change has the "
            f"number {self.last}: it is another node's, or this one was restored from a backup since; begin anew with "
            "changes(after=0), or with a cursor that was kept before the backup was made"
        )


@dataclass(eq=False)
class UnknownEntry(SyncError):
    """Nothing is held under this key, or with this id."""

    type: str
    key: str

    def __str__(self) -> str:
        return f"there is nothing of {self.type} under {shown(self.key)!r} here"


@dataclass(eq=False)
class NothingHeld(SyncError):
    """Nothing is held of a type."""

    type: str

    def __str__(self) -> str:
        return f"there is nothing of {self.type} here"


@dataclass(eq=False)
class FileUnusable(SyncError):
    """A file cannot be read or written, or something else is there that is not written over."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{shown(self.path)} cannot be used: {self.why}"


@dataclass(eq=False)
class BrokenExport(SyncError):
    """A file is no export that this node can take, or it was altered or cut off. Nothing of it was taken."""

    path: str
    offset: int
    why: str

    def __str__(self) -> str:
        return f"{shown(self.path)} is not imported: at byte {self.offset:,}: {self.why}; nothing of it was taken"


@dataclass(eq=False)
class UnknownFork(SyncError):
    """No fork of this id is held."""

    fork: str

    def __str__(self) -> str:
        return f"no fork {shown(self.fork)} is known here"
