"""What an application's own store of shared data has to be. Values and protocols: no I/O."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from covm.federation.sync.entries import Entry, Version

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SyncChange(Generic[T]):
    """How an entry stands now: what a `SyncStore` is to keep under its key, in place of what it has there."""

    type: str
    """The type of its records."""
    key: str
    """What it is about."""
    value: T | None
    """As the type's resolver says; None for one that was deleted, or of which nothing counts any more."""
    is_deleted: bool
    """Whether there is nothing to keep."""
    is_conflict: bool
    """Whether people should look: several versions stand side by side."""
    heads: tuple[Version[T], ...]
    """The versions that stand side by side; none where all that was written of it is void now."""
    trouble: str
    """Why the type's resolver could not be asked, or why the value is None though there is one; else empty."""


class SyncStore(Protocol):
    """An application's own store. Both methods may be `async`.

    `apply` gets each entry that changed, in order, and again after a crash, or when it has raised: it has to come to
    the same when it is called twice with the same. Changes of a key that follow each other fast come as one, the last.
    """

    def apply(self, change: SyncChange[Any], /) -> Awaitable[None] | None:
        """Keeps how an entry stands. Whatever it raises, it is called again later."""

    def get(self, key: str, /) -> Any:
        """What it keeps under a key, or an awaitable of that: what `request_sync` with a key returns."""


class TransactionalSyncStore(Protocol):
    """An application's own store whose tables lie in the node's: each change takes effect once, whatever crashes."""

    @property
    def transactional(self) -> bool:
        """True."""

    def apply(self, change: SyncChange[Any], tx: Any, /) -> None:
        """Keeps how an entry stands, through the `Tx`, as a transactional handler does. It is synchronous."""

    def get(self, key: str, /) -> Any:
        """As `SyncStore.get`."""


def change_of(type_name: str, key: str, entry: Entry[T] | None) -> SyncChange[T]:
    """How an entry stands; None where nothing of it counts."""
    if entry is None:
        return SyncChange(type_name, key, None, is_deleted=True, is_conflict=False, heads=(), trouble="")
    return SyncChange(type_name, key, entry.value, entry.is_deleted, entry.is_conflict, entry.heads, entry.trouble)
