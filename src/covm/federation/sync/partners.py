"""Peers that are admitted, and how this node and each of them stand in each type. Values."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from covm import _native
from covm.federation.sync.asking import Asker
from covm.federation.sync.frontier import Tips
from covm.federation.sync.session import Session


@dataclass(slots=True)
class Standing:
    """How this node and one peer stand in one type."""

    root: bytes
    """What the peer holds, as it said last."""
    running: asyncio.Task[None] | None = None
    fetched: int = 0
    """Records that came from it since it connected."""
    last_ms: int | None = None
    """When a session with it was at its end last."""
    error: str = ""
    """Why the last session was interrupted; empty when it was not."""
    size_bytes: int = 0
    """Bytes that came from it since it connected."""
    session: Session | None = None
    """The one that runs."""
    asked: bytes | None = None
    """The root of which it was asked to the end last."""
    differs_s: float | None = None
    """Since when the roots differ, by the monotonic clock."""
    is_owed: bool = False
    """Whether handlers at the peer are still to be given bodies that nobody should drop yet."""
    declined: dict[_native.Link, Tips] = field(default_factory=dict)


@dataclass(slots=True)
class Partner:
    """A peer that is admitted."""

    asker: Asker
    places: asyncio.Semaphore
    task: asyncio.Task[None] | None = None
    types: dict[str, Standing] = field(default_factory=dict)
