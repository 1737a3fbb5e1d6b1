"""Bans: which peers this node will have nothing to do with, until when and why. They bind this node alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from covm.federation.errors import PeerBanned
from covm.federation.wire.limits import MAX_TIME_MS

MAX_BANS = 10_000
"""Bans at once: far more than an operator sets by hand, and together about a megabyte."""

MAX_BAN_REASON = 256
"""Characters of a ban's reason: a sentence or two, `MAX_BANS` times."""

TimeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
"""Milliseconds since 1970-01-01 UTC that a calendar date can show."""


class Ban(msgspec.Struct, frozen=True):
    """One ban. `until_ms` is wall-clock time; None means until it is lifted."""

    peer: str
    """The banned peer's id, base58; or the id of a member, with all nodes that it has or gets."""
    reason: Annotated[str, msgspec.Meta(max_length=MAX_BAN_REASON)]
    """Why, in the operator's words, at most `MAX_BAN_REASON` characters."""
    since_ms: TimeMs
    """When it was set, in milliseconds since 1970-01-01 UTC."""
    until_ms: TimeMs | None
    """When it ends, in milliseconds since 1970-01-01 UTC."""

    @property
    def until(self) -> str:
        """The end for people: a date in UTC, or that it is open."""
        if self.until_ms is None:
            return "it is lifted"
        return datetime.fromtimestamp(self.until_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def as_error(self) -> PeerBanned:
        """The error that a call about the banned peer raises."""
        return PeerBanned(self.peer, self.reason, self.until)


class Bans:
    """The standing bans, at most one a peer or member."""

    def __init__(self, bans: Iterable[Ban] = (), member_of: Callable[[str], str | None] | None = None) -> None:
        """`member_of` says whose node a peer is: who comes with a new key is banned as its member is."""
        self._bans = {ban.peer: ban for ban in bans}
        self._member_of = member_of or (lambda _: None)

    def __len__(self) -> int:
        return len(self._bans)

    def add(self, ban: Ban) -> None:
        self._bans[ban.peer] = ban

    def lift(self, peer: str) -> Ban | None:
        return self._bans.pop(peer, None)

    def get(self, peer: str) -> Ban | None:
        """The ban of a peer, or of the member whose node it is."""
        if not self._bans:
            return None
        return self._bans.get(peer) or self._bans.get(self._member_of(peer) or "")

    def __contains__(self, peer: str) -> bool:
        return self.get(peer) is not None

    def expired(self, now_ms: int) -> list[Ban]:
        """The bans whose time is over."""
        return [ban for ban in self._bans.values() if ban.until_ms is not None and ban.until_ms <= now_ms]

    def all(self) -> list[Ban]:
        """Every standing ban, the oldest first."""
        return sorted(self._bans.values(), key=lambda ban: (ban.since_ms, ban.peer))
