"""Bodies that did not come with their records: asked for from one peer after the other, until one has them.

What came without its body has its place, and counts: where chains end, and what replaces what, does not depend on
bodies. So a peer that keeps bodies back, or has dropped them, keeps nobody from getting them elsewhere. Each peer is
asked once for what is new; for what nobody had, again after a while, and then after ever longer ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from covm import _native
from covm.federation.clock import Clock
from covm.federation.errors import SyncInterrupted
from covm.federation.sync import rows
from covm.federation.sync.asking import Asker
from covm.federation.sync.keeper import Keeper
from covm.federation.wire.sync_frames import MAX_BODIES, SyncRequest

MAX_QUESTIONS: Final = 16
"""Questions to one peer about one type in one turn; the next turn goes on behind them."""

TURN_S: Final = 30.0
"""How long one peer's turn may take: behind it wait the others."""

FIRST_WAIT_S: Final = 30.0
"""Before a peer is asked again for what it did not have."""

LONGEST_WAIT_S: Final = 3600.0


@dataclass(slots=True)
class Turn:
    """How far one peer was asked about one type: by the numbers of the records here."""

    due_s: float
    """When it is asked again."""
    newest: int = 0
    """It was asked for all up to this one."""
    again: int = 0
    """Behind this one it is asked again."""
    wait_s: float = FIRST_WAIT_S


class Filler:
    """Asks for bodies."""

    def __init__(self, keeper: Keeper, clock: Clock) -> None:
        self._keeper = keeper
        self._clock = clock
        self._turns: dict[tuple[str, str], Turn] = {}
        """By peer and type."""

    def forget(self, peer: str) -> None:
        """It is not connected any more."""
        self._turns = {key: turn for key, turn in self._turns.items() if key[0] != peer}

    def hurry(self) -> None:
        """What is lacking may be something else now: everybody is asked for all of it."""
        self._turns.clear()

    async def round(self, partners: Iterable[tuple[Asker, Iterable[str]]]) -> None:
        """Asks each of these peers about each of its types, as far as it is its turn. Raises `StoreError`."""
        lacking = set(await self._keeper.store.read(rows.types_without_bodies))
        for asker, names in partners:
            for name in sorted(lacking.intersection(names)):
                turn = self._turns.setdefault((asker.peer, name), Turn(due_s=self._clock.monotonic_s() + FIRST_WAIT_S))
                try:
                    async with asyncio.timeout(TURN_S):
                        await self._ask(asker, name, turn)
                except (SyncInterrupted, TimeoutError):
                    self._put_off(turn)

    async def _ask(self, asker: Asker, name: str, turn: Turn) -> None:
        turn.newest, _, _ = await self._ask_behind(asker, name, turn.newest)
        if self._clock.monotonic_s() < turn.due_s:
            return
        turn.again, filled, is_end = await self._ask_behind(asker, name, turn.again)
        if is_end:
            turn.again = 0
        if filled:
            turn.wait_s = FIRST_WAIT_S
        self._put_off(turn)

    def _put_off(self, turn: Turn) -> None:
        turn.due_s = self._clock.monotonic_s() + turn.wait_s
        turn.wait_s = min(2 * turn.wait_s, LONGEST_WAIT_S)

    async def _ask_behind(self, asker: Asker, name: str, after: int) -> tuple[int, int, bool]:
        """Asks for what is lacking behind a record: up to which that was, how many came, and whether it was all."""
        filled = 0
        for _ in range(MAX_QUESTIONS):
            place = after
            found = await self._keeper.store.read(lambda tx: rows.without_bodies(tx, name, place, MAX_BODIES))  # noqa: B023
            if not found:
                return after, filled, True
            came, is_done = await self._fill(asker, name, [link for _, link in found])
            filled += came
            # What was left out of an answer is still lacking, and asked for in the next.
            after = found[-1][0] if is_done else after
        return after, filled, False

    async def _fill(self, asker: Asker, name: str, links: list[_native.Link]) -> tuple[int, bool]:
        response = await asker.ask(SyncRequest(number=0, type=name, bodies=links))
        if not response.records:
            return 0, True
        taken = await self._keeper.fill(
            [each.envelope for each in response.records], [each.body for each in response.records], set(links)
        )
        if taken.malformed:
            asker.violation("sync_garbage")
            raise SyncInterrupted(name, asker.peer, "it sent what is no body, or was not asked for")
        return len(taken.keys), not response.more
