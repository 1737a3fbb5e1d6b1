"""What programs read of shared data: entries, their versions, and changes. Values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from covm.federation.wire.record import Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Erasure:
    """What took a value away: a record of the member that had written it, or what founders have approved."""

    id: str
    """Its id: the record's, or the credential's."""
    author: str
    """The peer id of the node that wrote it: of the member that had written the value, or of who proposed it."""
    member: str | None
    """The member whose node that is now."""
    reason: str
    """Why, as its author said; empty where that is not here, or was erased too."""
    approved_by: tuple[str, ...] = ()
    """The founders, by id, who approved it; empty for a record."""


@dataclass(frozen=True, slots=True)
class Version(Generic[T]):
    """One record of a key."""

    id: str
    """The record's id."""
    key: str
    """What it is about."""
    author: str
    """The peer id of the node that wrote it."""
    member: str | None
    """The member whose node that is now; None in `open` mode, and for one that is not known any more."""
    written_at_ms: int
    """By the author's clock, in milliseconds since 1970-01-01 UTC: it orders what is shown, and proves nothing."""
    op: Literal["put", "delete", "erase"]
    """What it says: a value, that there is none any more, or that another record's body is to go."""
    value: T | None
    """None for a delete or an erase, and where it is not held here."""
    state: Literal["valid", "void", "held"]
    """Whether it counts; a held one waits for what it builds on, or for its author to become known."""
    reason: str
    """Why it is void, or waits, or why its value is None though it has one: it does not fit the registered type, was
    erased, or is not here (yet); of an erase, why it was written."""
    place: Place
    """Where it stands, for `based_on`."""
    lacks_value: bool = False
    """Whether it says a value that is not held here."""
    erased: Erasure | None = None
    """What took its value away, for good."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A key, with what its versions come to."""

    key: str
    """What it is about."""
    value: T | None
    """As the type's resolver says; None for one that was deleted."""
    heads: tuple[Version[T], ...]
    """The versions that stand side by side: one, unless some did not know of each other."""
    is_conflict: bool
    """Whether people should look: see `resolve`."""
    trouble: str
    """Why the type's resolver could not be asked, or why the value is None though there is one; else empty."""
    is_deleted: bool = False
    """Whether the type's resolver says that there is nothing any more."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """Something of a key has been found valid, or void."""

    cursor: int
    """Go on behind it with `changes(after=cursor)`."""
    key: str
    """What it is about."""
    version: Version[T]
    """The record."""
