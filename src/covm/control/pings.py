"""The control API's requests and answers about the way to one peer; see `schema` for what all of them have.

| request | body | answer |
|---|---|---|
| POST /v1/ping | `Ping` | `Pinged` |
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from covm.control.schema import Peer, Versioned

MOST_PINGS = 16
"""Round trips that are measured in one request: as many as a peer answers in a row."""


class Ping(Versioned, kw_only=True, frozen=True):
    """`peer` is an id, a unique beginning of it, or a name."""

    peer: str
    count: Annotated[int, Meta(ge=1, le=MOST_PINGS)] = 4


class Pinged(Versioned, kw_only=True, frozen=True):
    """How long the peer takes to answer. Of one that is not connected nothing is measured; `peer` says why."""

    peer: Peer
    round_trips_ms: list[float]
    """Of those that were answered, in order."""
    lost: int
    min_ms: float | None = None
    avg_ms: float | None = None
    max_ms: float | None = None
