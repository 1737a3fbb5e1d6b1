"""The jobs that are about bodies: which are lacking, what others ask for, and one that has come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from covm import _native
from covm.federation.sync import tables, usage_rows
from covm.federation.sync.plan import Arrived
from covm.federation.sync.rows import in_lists
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord, open_records

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

LACKING: Final = (
    f"r.body IS NULL AND r.erased_by IS NULL AND r.superseded = 0 AND r.op <> {tables.DELETE} "
    f"AND r.state <> {tables.VOID}"
)
"""Of a row `r`: whether it has a body that is to be here and is not. The one place that says so.

What is erased lacks none, nor what was replaced: others may have dropped that already. What waits to be judged may.
"""

REPLACED: Final = f"r.replaced_at < 0 AND r.body IS NULL AND r.erased_by IS NULL AND r.state <> {tables.VOID}"
"""Of a row `r`: whether it was replaced before its body came, and others may have that still.

Who hands everything to handlers lacks it (see `tables.records`).
"""

BARE: Final = f"r.body IS NULL AND r.erased_by IS NULL AND r.op <> {tables.DELETE}"
"""Of a row `r`: whether it has a body that is not here, and may be."""

_FOUND: Final = "SELECT r.number, r.envelope FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id WHERE "


class Lacking(NamedTuple):
    """A record without its body, and the number of its arrival."""

    number: int
    record: SignedRecord


def pages(
    tx: Transaction,
    after: Mapping[str, int],
    limit: int,
    left_out: Collection[str] = (),
    handed: Collection[str] = (),
) -> dict[str, list[Lacking]]:
    """By type, records whose bodies are not here, behind a number each, in that order; some types left out.

    Of types that are `handed` to handlers also those that were replaced. Each type has its part of the limit.
    """
    names = _types_with(tx, LACKING).difference(left_out) | owed(tx, handed)
    most = max(1, limit // max(1, len(names)))
    found = {
        name: _page(tx, name, after.get(name, 0), most, [LACKING, REPLACED] if name in handed else [LACKING])
        for name in sorted(names)
    }
    return {name: page for name, page in found.items() if page}


def owed(tx: Transaction, handed: Collection[str]) -> set[str]:
    """Those of these types of which handlers are still to be given bodies that were replaced."""
    return _types_with(tx, REPLACED).intersection(handed) if handed else set()


def _types_with(tx: Transaction, condition: str) -> set[str]:
    some = f"SELECT 1 FROM covm_records r WHERE r.type_id = t.id AND {condition}"  # noqa: S608 - own text
    return set(tx.execute(f"SELECT t.name FROM covm_record_types t WHERE EXISTS ({some})").scalars())  # noqa: S608


def _page(tx: Transaction, type_name: str, after: int, limit: int, conditions: Sequence[str]) -> list[Lacking]:
    fields = {"type": type_name, "after": after, "limit": limit}
    rows: list[tuple[int, bytes]] = []
    for condition in conditions:  # one after the other: each has an index of its own
        query = f"{_FOUND}{condition} AND t.name = :type AND r.number > :after ORDER BY r.number LIMIT :limit"
        rows += tx.execute(query, fields).all()
    return _lacking(sorted(rows)[:limit])


def lacks(tx: Transaction, record: _native.Link) -> Lacking | None:
    """A record, if its body is not here and is to be."""
    found = _lacking(tx.execute(f"{_FOUND}{LACKING} AND r.id = :id", {"id": record.bytes}).all())
    return found[0] if found else None


def type_of(tx: Transaction, record: bytes) -> str | None:
    """The type of a record that is here."""
    query = "SELECT t.name FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id WHERE r.id = :id"
    name: str | None = tx.execute(query, {"id": record}).scalar()
    return name


def piece(tx: Transaction, record: bytes, begin: int, count: int) -> bytes | None:
    """Bytes of a record's body, from a place on; None where that is not here."""
    query = "SELECT substr(body, :begin, :count) FROM covm_records WHERE id = :id"
    data = tx.execute(query, {"id": record, "begin": begin + 1, "count": count}).scalar()
    return None if data is None else bytes(data)


def put_bodies(
    tx: Transaction, arrived: Sequence[Arrived], judged: int, now_ms: int, *, is_given: bool
) -> list[Arrived]:
    """Keeps bodies that have come, as far as they are lacking still; which of them.

    Where somebody has `given` them, also those that were dropped, and those of what is void. Whoever follows changes
    sees the records anew: their judgements get numbers above `judged`. What was replaced is kept for a time from now.
    """
    condition = BARE if is_given else f"({LACKING} OR {REPLACED})"
    kept: list[Arrived] = []
    for each in arrived:
        done = tx.execute(
            "UPDATE covm_records AS r SET body = :body, "  # noqa: S608 - own text
            "judged = CASE WHEN r.judged IS NULL THEN NULL ELSE :judged END, "
            "replaced_ms = CASE WHEN r.superseded = 1 THEN :now END, "
            f"replaced_at = CASE WHEN r.superseded = 1 THEN :judged END WHERE r.id = :id AND {condition}",
            {"id": each.record.id.bytes, "body": each.body, "judged": judged + len(kept) + 1, "now": now_ms},
        )
        if done.rowcount:
            kept.append(each)
    if kept:
        tables.save_last_judgement(tx, judged + len(kept))
    usage_rows.count(tx, usage_rows.of_bodies(kept))
    return kept


def bare(tx: Transaction, ids: Sequence[_native.Link]) -> set[_native.Link]:
    """Those of these records that are here without the bodies that they have."""
    found: set[_native.Link] = set()
    for names, values in in_lists("i", [each.bytes for each in ids]):
        query = f"SELECT r.id FROM covm_records r WHERE r.id IN ({names}) AND {BARE}"  # noqa: S608 - own text
        found.update(_native.Link(bytes(each)) for each in tx.execute(query, values).scalars())
    return found


def _lacking(rows: Sequence[tuple[int, bytes]]) -> list[Lacking]:
    records = open_records([bytes(envelope) for _, envelope in rows])
    return [
        Lacking(number, record)
        for (number, _), record in zip(rows, records, strict=True)
        if not isinstance(record, Malformed)
    ]
