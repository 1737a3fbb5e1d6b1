"""`Erasures`: obeys what members have approved to be erased of what another member wrote.

What comes later is looked at as it comes (`Intake`); here is what was there before the last approval, or is to come
again because an approval counts no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from covm.federation.ports import Authored
from covm.federation.sync import plan_rows, rows
from covm.federation.sync.taken import Taken
from covm.federation.sync.verifying import MAX_BATCH

if TYPE_CHECKING:
    from covm import _native
    from covm.federation.identity.standing import Erasure
    from covm.federation.sync.keeper import Keeper


class Erasures:
    """Looks at what has changed since it looked last; at the start at all that anybody has proposed."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._obeyed: Mapping[_native.Link, Sequence[Erasure]] = {}

    async def obey(self) -> None:
        """Drops the bodies of what is erased now. Raises `StoreError`; then the next time does the rest."""
        now = self._keeper.authority.erasures()
        changed = [each for each in {**self._obeyed, **now} if self._obeyed.get(each) != now.get(each)]
        for start in range(0, len(changed), MAX_BATCH):
            await self._obey(changed[start : start + MAX_BATCH])
        self._obeyed = now

    async def _obey(self, records: Sequence[_native.Link]) -> None:
        keeper = self._keeper
        async with keeper.turn:
            await keeper.settle()
            found = await keeper.look_up(records, targets=dict.fromkeys(records))
            erased = keeper.intake(found).erasers(records)
            if erased:
                job = partial(plan_rows.erase, erased=erased, judged=keeper.judged)
                done = await keeper.amend(job, keeper.judged + len(erased))
                keeper.count(done.usage)
                keys = {(each.type, each.key) for each in found.known if each.id in done.records}
                if keys:
                    keeper.tell(Taken(keys=frozenset(keys)))

    async def authored(self, record: _native.Link) -> Authored | None:
        """What a record is and whose; None where it is not here, or it is not known yet whose. Raises `StoreError`."""
        keeper = self._keeper
        owner = keeper.intake(await keeper.look_up([record])).owner_of_id(record)
        found = await keeper.store.read(lambda tx: rows.find(tx, [record]))
        if owner is None or not found:
            return None
        header = found[0].record.body
        return Authored(header.type, header.key, owner, says_value=header.body is not None)
