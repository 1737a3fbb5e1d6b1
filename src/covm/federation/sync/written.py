"""What nodes have written: where each of their logs ends, now or at a time by its author's clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from covm import _native
from covm.federation.identity.branches import Spot
from covm.federation.ports import Written
from covm.federation.sync.logs import Log
from covm.federation.wire.record import Place

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction


def ends_of(logs: Iterable[Log], nodes: Collection[str]) -> list[Written]:
    """The ends of all logs of these nodes: of one that was forked, the longest branch."""
    ends = [(log, log.last()) for log in logs if log.author in nodes]
    return [
        Written(Place(log.link, end[0].seq, end[1]), end[2].hlc.time_ms)
        for log, end in ends
        if end is not None and end[2].hlc is not None
    ]


def ends_until(tx: Transaction, logs: Sequence[Log], until_ms: int) -> list[Written]:
    """The ends of these logs before their clock was later than this; none of one that was later from its beginning."""
    found: list[Written] = []
    for log in logs:
        spot = _spot_until(tx, log, until_ms)
        if spot is None:
            continue
        row = tx.execute(
            "SELECT id, time_ms FROM covm_records WHERE log_id = :log AND seq = :seq AND branch = :branch",
            {"log": log.number, "seq": spot.seq, "branch": spot.branch},
        ).first()
        if row is not None:
            found.append(Written(Place(log.link, spot.seq, _native.Link(bytes(row[0]))), row[1]))
    return found


def _spot_until(tx: Transaction, log: Log, until_ms: int) -> Spot | None:
    """The last record of a log before its clock was later; of a forked one that with the highest number."""
    reach: list[int] = []
    """Of each branch the number up to which it is not later; that before its first record where nothing of it is."""
    for index in range(len(log.branches)):
        branch = log.branches[index]
        is_later = branch.parent is not None and reach[branch.parent] < branch.begins - 1
        first_later = tx.execute(
            "SELECT min(seq) FROM covm_records WHERE log_id = :log AND branch = :branch AND time_ms > :until",
            {"log": log.number, "branch": index, "until": until_ms},
        ).scalar()
        end = branch.tip_seq if first_later is None else first_later - 1
        reach.append(branch.begins - 1 if is_later else end)
    spots = [Spot(index, end) for index, end in enumerate(reach) if end >= log.branches[index].begins]
    return max(spots, key=lambda spot: spot.seq, default=None)
