"""What the operator should know although the node goes on by itself, for `covm federation status`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from covm.control.schema import Notice
from covm.federation import events

MOST = 16
"""Notices that are kept, the latest: such things are rare, and the log has all of them."""


class Notices:
    """Hears of every event. `name_of` gives the name that a peer goes by, "" if it has none; `now_ms` the time."""

    def __init__(self, name_of: Callable[[str], str], now_ms: Callable[[], int]) -> None:
        self._name_of = name_of
        self._now_ms = now_ms
        self._latest: deque[Notice] = deque(maxlen=MOST)

    def latest(self) -> list[Notice]:
        """What is kept, the oldest first."""
        return list(self._latest)

    def hear(self, event: events.Event) -> None:
        """Keeps what an event means for the operator, if it means anything."""
        text = self._told(event)
        if text:
            self._latest.append(Notice(time=self._now_ms(), text=text))

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
            case events.PeerRefused(peer=peer, by=by, reason=reason) if by == peer:
                return f"{self._name(peer)} refused this node: {reason}"
            case events.InviteRefused(peer=peer, reason=reason):
                return f"{self._name(peer)} showed an invite that was not taken: {reason}"
            case events.MemberRemoved(name=name, reason=reason):
                return f"{name} is no member any more: {reason}"
            case _:
                return ""

    def _name(self, peer: str) -> str:
        return self._name_of(peer) or peer
