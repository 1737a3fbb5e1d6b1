"""The jobs behind quotas: what each log has, counted in the transaction that stores or drops it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from covm import _native
from covm.federation.sync.plan import Arrived
from covm.federation.sync.quotas import Usage
from covm.federation.sync.rows import in_lists

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

LOGS_AT_ONCE: Final = 100
"""Logs of one statement."""

Changes = Mapping[_native.Link, Usage]
"""By log; what was dropped is below zero."""


def load(tx: Transaction) -> dict[_native.Link, Usage]:
    """What each log has."""
    rows = tx.execute("SELECT log, records, size_bytes FROM covm_record_logs")
    return {_native.Link(bytes(log)): Usage(records, size_bytes) for log, records, size_bytes in rows}


def count(tx: Transaction, changes: Changes) -> None:
    """Notes what was stored and dropped, many logs in one statement."""
    listed = list(changes.items())
    for start in range(0, len(listed), LOGS_AT_ONCE):
        rows, fields = list[str](), dict[str, Any]()
        for at, (log, change) in enumerate(listed[start : start + LOGS_AT_ONCE]):
            rows.append(f"(:l{at}, :r{at}, :s{at})")
            fields |= {f"l{at}": log.bytes, f"r{at}": change.records, f"s{at}": change.size_bytes}
        tx.execute(
            f"WITH more(log, records, size_bytes) AS (VALUES {', '.join(rows)}) UPDATE covm_record_logs SET "  # noqa: S608 - own names
            "records = covm_record_logs.records + more.records, "
            "size_bytes = covm_record_logs.size_bytes + more.size_bytes FROM more "
            "WHERE covm_record_logs.log = more.log",
            fields,
        )


def of_bodies(arrived: Iterable[Arrived]) -> dict[_native.Link, Usage]:
    """What logs have more by the bodies of records that were here without them."""
    more: dict[_native.Link, Usage] = {}
    add_up(more, ((each.record.body.log, Usage(0, len(each.body or b""))) for each in arrived))
    return more


def bodies_of(tx: Transaction, column: str, values: Sequence[Any]) -> dict[_native.Link, Usage]:
    """What goes with the bodies of records: those that have one of these values in a column, their `id` or `number`."""
    found: dict[_native.Link, Usage] = {}
    for names, fields in in_lists("r", values):
        rows = tx.execute(
            "SELECT l.log, sum(length(r.body)) FROM covm_records r JOIN covm_record_logs l ON l.id = r.log_id "  # noqa: S608 - own names
            f"WHERE r.{column} IN ({names}) AND r.body IS NOT NULL GROUP BY l.log",
            fields,
        )
        add_up(found, ((_native.Link(bytes(log)), Usage(0, -int(size_bytes))) for log, size_bytes in rows))
    return found


def add_up(into: dict[_native.Link, Usage], changes: Iterable[tuple[_native.Link, Usage]]) -> None:
    """Adds changes to others."""
    for log, change in changes:
        into[log] = into.get(log, Usage()).plus(change)
