"""How this node stands in each type, and beside each peer: what people look at. Values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerStanding:
    """How this node and a connected peer stand in one type."""

    peer: str
    """Its peer id."""
    state: str
    """`same`, `fetching`, `differs` (it lacks something, or what it has is not to be had) or `interrupted`."""
    fetched: int
    """Records that came from it since it connected."""
    last_ms: int | None
    """When it was asked to the end last, in milliseconds since 1970-01-01 UTC; None before."""
    error: str
    """Why it was interrupted last; empty when it was not."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What this node holds of a type."""

    type: str
    """Its name."""
    logs: int
    """Logs, one for each author and life of its node."""
    records: int
    """Records, void ones and those that wait too."""
    held: int
    """Records that wait to be judged: for what they build on, or for their author to become known."""
    void: int
    """Records that count for nothing."""
    conflicts: int
    """Keys with several versions side by side."""
    root: bytes
    """Equal roots, equal records."""
    peers: tuple[PeerStanding, ...]
    """Connected peers that hold something of it."""
