"""Says what has become of records: conflicts, and what is void that had counted. Whoever writes much floods nobody."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from covm.federation.events import Conflict, EventHub, QuotaReached, RecordVoided
from covm.federation.sync.taken import Taken

logger = logging.getLogger("covm.federation")

ONE_BY_ONE: Final = 100
"""Events within a second that are told one by one; a listener has room for ten times as many."""

PERIOD_S: Final = 1.0

SUMS_AT_ONCE: Final = 256
"""Types of which the rest is summed up by itself; that of all others is told without a type."""

_Kind = tuple[type[Conflict] | type[RecordVoided], bool]


class Announcer:
    """Told what was taken, once that is on disk."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._left = ONE_BY_ONE
        self._rest: Counter[tuple[_Kind, str]] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, taken: Taken) -> None:
        """Emits an event for each, or sums them up."""
        for full in taken.full:
            logger.warning("records are declined: %s; raise %s to take more", full.why, full.setting)
            self._hub.emit(QuotaReached(*full))
        for name, key, is_open in taken.conflicts:
            self._say(Conflict(name, key, is_open), (Conflict, is_open))
        for row in taken.voided:
            known, author = row.known, row.arrived.record.author
            event = RecordVoided(known.type, known.key, str(known.id), author, row.verdict.reason)
            self._say(event, (RecordVoided, False))

    def _say(self, event: Conflict | RecordVoided, kind: _Kind) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._next_period)
        if self._left > 0:
            self._left -= 1
            self._hub.emit(event)
            return
        fits = (kind, event.type) in self._rest or len(self._rest) < SUMS_AT_ONCE
        self._rest[kind, event.type if fits else ""] += 1

    def _next_period(self) -> None:
        self._timer, self._left = None, ONE_BY_ONE
        rest, self._rest = self._rest, Counter()
        for ((kind, is_open), name), count in rest.items():
            if kind is Conflict:
                self._hub.emit(Conflict(name, "", is_open, count))
            else:
                self._hub.emit(RecordVoided(name, "", "", "", "", count))
