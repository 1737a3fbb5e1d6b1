"""Old values are kept for a time: then their bodies are dropped, and their headers stay.

What was replaced or deleted may go once that is longer ago than the retention time, by this node's own clock, and
every node of a current member that may read the type holds what replaced it: then none of them can ask for the old
value. Of a peer this is known when its root was the same as this node's, and it said that its handlers are owed no body
of the type: it holds all that was judged here by then, and nothing is ever taken away from what somebody holds. A
member's node that never comes keeps everything, so one that is gone for good has to be removed. In `open` mode nobody
knows who takes part, so nothing is dropped.

What was replaced before its body came is asked for as long (see `Bodies`). Then it is given up: it may be that nobody
has it any more, and whoever waited for it would have the others keep everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from covm.federation.clock import Clock
from covm.federation.ports import Membership
from covm.federation.sync import tables, usage_rows
from covm.federation.sync.body_rows import REPLACED
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.rows import in_lists

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

MAX_DROPPED: Final = 250
"""Bodies that are dropped in one transaction."""

Agreements = Mapping[tuple[str, str], int]
"""By peer and type, the last judgement here when it held the same."""


class Retention:
    """Drops bodies. Without a time to keep them for, none."""

    def __init__(
        self,
        keeper: Keeper,
        membership: Membership,
        own: str,
        clock: Clock,
        keep_for_s: float | None,
        gave_up: Callable[[str, int], None],
    ) -> None:
        """`gave_up` hears of which type how many bodies are not waited for any more."""
        self._keeper = keeper
        self._membership = membership
        self._own = own
        self._clock = clock
        self._keep_for_s = keep_for_s
        self._gave_up = gave_up
        self._noted: dict[tuple[str, str], int] = {}

    def note(self, peer: str, type_name: str) -> None:
        """A peer holds of a type what is here now."""
        if self._keep_for_s is None:
            return  # nothing is ever dropped
        self._noted[peer, type_name] = self._keeper.judged

    async def run(self) -> int:
        """Drops what may go; how much that was. Raises `StoreError`."""
        if self._keep_for_s is None or not self._membership.node_verdict(self._own).holds:
            return 0
        store, noted = self._keeper.store, dict(self._noted)
        if noted:
            await store.write(partial(save, noted=noted))
            # What was noted meanwhile is for the next time.
            self._noted = {key: judged for key, judged in self._noted.items() if noted.get(key) != judged}
        before_ms, dropped = self._clock.now_ms() - int(self._keep_for_s * 1000), 0
        for name in self._keeper.logs.types():
            find = partial(ripe, type_name=name, readers=self._membership.readers(name), before_ms=before_ms)
            while numbers := await store.read(find):
                await self._keeper.drop(partial(drop, numbers=numbers))
                dropped += len(numbers)
            while numbers := await store.read(partial(overdue, type_name=name, before_ms=before_ms)):
                self._gave_up(name, await store.write(partial(give_up, numbers=numbers)))
        return dropped


def save(tx: Transaction, noted: Agreements) -> None:
    """Keeps up to where peers hold the same."""
    for (peer, name), judged in noted.items():
        number = tx.execute("SELECT id FROM covm_record_types WHERE name = :name", {"name": name}).scalar()
        if number is None:
            continue
        tx.insert(tables.agreements, ("peer", "type_id", "judged"), [(peer, number, judged)], or_ignore=True)
        tx.execute(
            "UPDATE covm_record_agreements SET judged = :judged WHERE peer = :peer AND type_id = :type",
            {"judged": judged, "peer": peer, "type": number},
        )


def ripe(tx: Transaction, type_name: str, readers: Sequence[str], before_ms: int) -> list[int]:
    """The numbers of some records of a type whose bodies may go: all readers have what replaced them."""
    number = tx.execute("SELECT id FROM covm_record_types WHERE name = :name", {"name": type_name}).scalar()
    query = "SELECT peer, judged FROM covm_record_agreements WHERE type_id = :type"
    agreed = {row[0]: row[1] for row in tx.execute(query, {"type": number})}
    if any(peer not in agreed for peer in readers):
        return []
    fields = {"type": number, "limit": MAX_DROPPED}
    passed = ""
    if readers:
        fields["at"] = min(agreed[peer] for peer in readers)
        passed = "AND replaced_at <= :at "
    # In the order in which they were replaced: where the first are too young, the others are too.
    found = tx.execute(
        "SELECT number, replaced_ms FROM covm_records WHERE type_id = :type AND replaced_at > 0 "  # noqa: S608 - own text
        f"{passed}ORDER BY replaced_at LIMIT :limit",
        fields,
    )
    return [row[0] for row in found if row[1] <= before_ms]


def drop(tx: Transaction, numbers: Sequence[int]) -> usage_rows.Changes:
    """Drops the bodies of records that are still replaced; what their logs have less by that."""
    gone: list[int] = []
    for names, values in in_lists("n", numbers):
        query = f"SELECT number FROM covm_records WHERE number IN ({names}) AND superseded = 1"  # noqa: S608 - own names
        gone += tx.execute(query, values).scalars()
    freed = usage_rows.bodies_of(tx, "number", gone)
    for names, values in in_lists("n", gone):
        tx.execute(
            "UPDATE covm_records SET body = NULL, replaced_ms = NULL, replaced_at = NULL "  # noqa: S608 - own names
            f"WHERE number IN ({names})",
            values,
        )
    usage_rows.count(tx, freed)
    return freed


def overdue(tx: Transaction, type_name: str, before_ms: int) -> list[int]:
    """The numbers of some records of a type that were replaced before their bodies came, and long ago."""
    number = tx.execute("SELECT id FROM covm_record_types WHERE name = :name", {"name": type_name}).scalar()
    return tx.execute(
        "SELECT number FROM covm_records WHERE type_id = :type AND replaced_at < 0 AND replaced_ms <= :before "
        "LIMIT :limit",
        {"type": number, "before": before_ms, "limit": MAX_DROPPED},
    ).scalars()


def give_up(tx: Transaction, numbers: Sequence[int]) -> int:
    """Asks no longer for the bodies of these, unless they have come; how many were lacking."""
    lacking = 0
    for names, values in in_lists("n", numbers):
        query = f"SELECT count(*) FROM covm_records r WHERE r.number IN ({names}) AND {REPLACED}"  # noqa: S608 - own names
        lacking += int(tx.execute(query, values).scalar_one())
        tx.execute(
            "UPDATE covm_records SET replaced_ms = NULL, replaced_at = NULL "  # noqa: S608 - own names
            f"WHERE number IN ({names}) AND replaced_at < 0",
            values,
        )
    return lacking
