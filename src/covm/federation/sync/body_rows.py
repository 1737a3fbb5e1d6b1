"""The jobs that are about bodies: which are lacking, what others ask for, and one that has come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from covm import _native
from covm.federation.sync import tables
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

_FOUND: Final = (
    "SELECT r.number, r.envelope FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "  # noqa: S608 - own text
    f"WHERE {LACKING} AND "
)


class Lacking(NamedTuple):
    """A record without its body, and the number of its arrival."""

    number: int
    record: SignedRecord


def pages(tx: Transaction, after: Mapping[str, int], limit: int, left_out: Collection[str]) -> dict[str, list[Lacking]]:
    """By type, records whose bodies are not here, behind a number each, in that order; some types left out.

    Each type has its part of the limit.
    """
    some = f"SELECT 1 FROM covm_records r WHERE r.type_id = t.id AND {LACKING}"  # noqa: S608 - own text
    names = tx.execute(f"SELECT t.name FROM covm_record_types t WHERE EXISTS ({some}) ORDER BY t.name").scalars()  # noqa: S608
    wanted = [name for name in names if name not in left_out]
    found = {name: _page(tx, name, after.get(name, 0), max(1, limit // len(wanted))) for name in wanted}
    return {name: page for name, page in found.items() if page}


def _page(tx: Transaction, type_name: str, after: int, limit: int) -> list[Lacking]:
    query = _FOUND + "t.name = :type AND r.number > :after ORDER BY r.number LIMIT :limit"
    return _lacking(tx.execute(query, {"type": type_name, "after": after, "limit": limit}).all())


def lacks(tx: Transaction, record: _native.Link) -> Lacking | None:
    """A record, if its body is not here and is to be."""
    found = _lacking(tx.execute(_FOUND + "r.id = :id", {"id": record.bytes}).all())
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


def put_body(tx: Transaction, record: _native.Link, body: bytes, judged: int) -> bool:
    """Keeps a body that has come, unless it is not lacking any more; whether it did.

    Whoever follows changes sees the record anew: its judgement gets this number.
    """
    done = tx.execute(
        "UPDATE covm_records AS r SET body = :body, "  # noqa: S608 - own text
        f"judged = CASE WHEN r.judged IS NULL THEN NULL ELSE :judged END WHERE r.id = :id AND {LACKING}",
        {"id": record.bytes, "body": body, "judged": judged},
    )
    if done.rowcount > 0:
        tables.save_last_judgement(tx, judged)
    return done.rowcount > 0


def _lacking(rows: Sequence[tuple[int, bytes]]) -> list[Lacking]:
    records = open_records([bytes(envelope) for _, envelope in rows])
    return [
        Lacking(number, record)
        for (number, _), record in zip(rows, records, strict=True)
        if not isinstance(record, Malformed)
    ]
