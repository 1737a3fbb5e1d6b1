"""What the process remembers of the peers that were connected: their names, and since when they are away.

Names are asked for on the store's thread too, while a message is being kept there: this is one dictionary, which the
event loop alone changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from covm.federation import events

MOST = 4096
"""Peers that are remembered: more than a node ever connects to in practice; the longest known give way."""


class Acquaintance(NamedTuple):
    """A peer that was here. `name` is "" if it gave none; `offline_since_ms` is None while it is here."""

    name: str
    offline_since_ms: int | None


class Acquaintances:
    """Hears of every event. `name_of` gives a peer's name as it goes now, `now_ms` the time."""

    def __init__(self, name_of: Callable[[str], str], now_ms: Callable[[], int]) -> None:
        self._name_of = name_of
        self._now_ms = now_ms
        self._known: dict[str, Acquaintance] = {}

    def recall(self, guests: Mapping[str, Acquaintance]) -> None:
        """Who was here before the start."""
        self._known = dict(guests) | self._known

    def names(self) -> dict[str, str]:
        """The names of everyone that has one, by peer id."""
        return {peer: known.name for peer, known in self._known.items() if known.name}

    def hear(self, event: events.Event) -> None:
        """Notes who comes and who goes."""
        match event:
            case events.PeerConnected(peer=peer):
                self._note(peer, None)
            case events.PeerDisconnected(peer=peer):
                self._note(peer, self._now_ms())
            case _:
                pass

    def name_of(self, peer: str) -> str:
        """The name by which the peer was last known, "" if it was not. For any thread."""
        known = self._known.get(peer)
        return "" if known is None else known.name

    def offline_since_ms(self, peer: str) -> int | None:
        """Since when the peer is away; None when it is here, or never was."""
        known = self._known.get(peer)
        return None if known is None else known.offline_since_ms

    def _note(self, peer: str, offline_since_ms: int | None) -> None:
        former = self._known.pop(peer, None)
        name = self._name_of(peer) or (former.name if former is not None else "")
        self._known[peer] = Acquaintance(name, offline_since_ms)
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
