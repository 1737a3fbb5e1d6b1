"""Who fetches which log, so that several sessions do not fetch the same. Rules: no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from covm import _native

LEASE_S: Final = 10.0
"""How long a session keeps a log without a record of it coming: then another peer may be asked for it."""


class Leases:
    """Logs that are being fetched, and by whom."""

    def __init__(self) -> None:
        self._held: dict[_native.Link, tuple[object, float]] = {}

    def take(self, logs: Iterable[_native.Link], holder: object, now_s: float) -> list[_native.Link]:
        """Those of these logs that the holder has from now on, for a time."""
        taken: list[_native.Link] = []
        for log in logs:
            held = self._held.get(log)
            if held is None or held[0] is holder or held[1] <= now_s:
                self._held[log] = (holder, now_s + LEASE_S)
                taken.append(log)
        return taken

    def give_back(self, logs: Iterable[_native.Link], holder: object) -> None:
        """The holder has no use for these any more."""
        for log in logs:
            held = self._held.get(log)
            if held is not None and held[0] is holder:
                del self._held[log]
