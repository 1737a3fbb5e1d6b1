"""`Shares`: what each peer may be given of all that there is. Rules: no I/O, no clock of its own."""

from __future__ import annotations

from typing import Final

from covm.federation.quota import Quota
from covm.federation.wire.sync_frames import SyncResponse

HOUR_S: Final = 3600.0

TIMES_AN_HOUR: Final = 3
"""How often a peer may be given all that there is within an hour: an honest one asks for nothing twice."""

LEAST_AN_HOUR: Final = 10_000
"""Records that it may be given however little there is."""

TOLD_A_RECORD: Final = 16
"""Logs that are told in the place of one record: they are smaller, and nothing is read from the disk for them."""


class Shares:
    """Counts what peers are given; `length` is how many records there are."""

    def __init__(self) -> None:
        self._given = Quota(1.0, 1 / HOUR_S)

    def take(self, peer: str, length: int, now_s: float) -> bool:
        """Whether a peer may be given something more."""
        return self._given.take(peer, 1 / _whole(length), now_s)

    def gave(self, peer: str, response: SyncResponse, length: int, now_s: float) -> None:
        """It was given this."""
        told = sum(len(found.inner) + len(found.told) for found in response.found)
        self._given.take(peer, (len(response.records) + told / TOLD_A_RECORD) / _whole(length), now_s)

    def keep(self, peers: set[str], now_s: float) -> None:
        """Forgets peers that are not there any more and have had little."""
        self._given.keep(peers, now_s)


def _whole(length: int) -> int:
    return LEAST_AN_HOUR + TIMES_AN_HOUR * length
