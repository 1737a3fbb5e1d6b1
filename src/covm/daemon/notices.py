"""What the operator should know although the node goes on by itself, for `covm federation status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from covm.control.schema import Notice
from covm.federation import events

MOST = 16
"""Notices that are kept: such things are rare, and the log has all of them."""


class Notices:
    """Hears of every event. `name_of` gives the name that a peer goes by, "" if it has none; `now_ms` the time.

    What is said again is counted. Where there are too many, one of the kind of which there are most goes: whoever
    repeats a thing, or has many do it, pushes out nothing else.
    """

    def __init__(self, name_of: Callable[[str], str], now_ms: Callable[[], int]) -> None:
        self._name_of = name_of
        self._now_ms = now_ms
        self._kept: dict[tuple[str, str], Notice] = {}
        """By kind and text, the latest last."""

    def latest(self) -> list[Notice]:
        """What is kept, the oldest first."""
        return list(self._kept.values())

    def hear(self, event: events.Event) -> None:
        """Keeps what an event means for the operator, if it means anything."""
        text = self._told(event)
        if not text:
            return
        key = (type(event).__name__, text)
        before = self._kept.pop(key, None)
        self._kept[key] = Notice(time=self._now_ms(), text=text, times=before.times + 1 if before else 1)
        if len(self._kept) > MOST:
            count = Counter(kind for kind, _ in self._kept)
            most = max(count.values())
            del self._kept[next(each for each in self._kept if count[each[0]] == most)]

    def _told(self, event: events.Event) -> str:
        match event:
            case events.RolledBack(peer=peer, incarnation=incarnation):
                return (
                    f"this node's store went back in time, as {self._name(peer)} proved: it goes on under the new "
                    f"incarnation {incarnation}, and what was pending is sent again"
                )
            case events.PeerRolledBack(peer=peer, acknowledged=acknowledged, stored=stored):
                return (
                    f"{self._name(peer)} went back in time: it had acknowledged {acknowledged} messages of this node "
                    f"and holds {stored}; what is still held here is sent again"
                )
            case events.ReceivedLess(peer=peer, acknowledged=acknowledged, stored=stored):
                return (
                    f"{self._name(peer)} says that this node acknowledged {acknowledged} of its messages, and {stored} "
                    "are known here: this node's store may have gone back in time"
                )
            case events.ClockFoundWrong(peer=peer, ahead_ms=ahead_ms):
                way = "ahead of" if ahead_ms > 0 else "behind"
                return f"the clock of {self._name(peer)} is some {abs(ahead_ms) / 1000:.0f} s {way} those of others"
            case events.PeerRefused(peer=peer, by=by, reason=reason) if by == peer:
                return f"{self._name(peer)} refused this node: {reason}"
            case events.InviteRefused(peer=peer, reason=reason):
                return f"{self._name(peer)} showed an invite that was not taken: {reason}"
            case events.MemberRemoved(name=name, reason=reason):
                return f"{name} is no member any more: {reason}"
            case events.QuotaReached(type=name, member=member, limit=limit, unit=unit):
                whose = f"{self._name(member)} has" if member else "those whose member is not known here have"
                return (
                    f"{whose} {limit:,} {unit} of {name} here, and more is declined; `covm federation sync` shows how "
                    "much each member has, and the settings record_quota and record_quota_bytes give more room"
                )
            case _:
                return ""

    def _name(self, peer: str) -> str:
        return self._name_of(peer) or peer
