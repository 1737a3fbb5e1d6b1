"""The jobs that are about bodies: which are lacking, what others ask for, and one that has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from covm import _native
from covm.federation.sync import tables
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord, open_records

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

LACKING: Final = f"r.body IS NULL AND r.op = {tables.PUT} AND r.state = {tables.VALID}"
"""Of a row `r`: whether it has a body that is to be here and is not. The one place that says so."""

_FOUND: Final = (
    "SELECT r.judged, r.envelope FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "  # noqa: S608 - own text
    f"WHERE {LACKING} AND "
)


class Lacking(NamedTuple):
    """A record without its body, and the number of its judgement."""

    number: int
    record: SignedRecord


def lacking(tx: Transaction, after: int, limit: int, left_out: Sequence[str]) -> list[Lacking]:
    """Records whose bodies are not here, judged behind a number, in that order; those of some types left out."""
    names = {f"n{index}": name for index, name in enumerate(left_out)}
    others = f"t.name NOT IN ({', '.join(f':{each}' for each in names)}) AND " if names else ""
    rows = tx.execute(
        _FOUND + others + "r.judged > :after ORDER BY r.judged LIMIT :limit",
        {"after": after, "limit": limit, **names},
    )
    return _lacking(rows.all())


def lacks(tx: Transaction, record: _native.Link) -> Lacking | None:
    """A record, if its body is not here."""
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


def put_body(tx: Transaction, record: _native.Link, body: bytes, judged: int) -> None:
    """Keeps a body that has come, unless it is not lacking any more; whoever follows changes sees the record anew."""
    tx.execute(
        f"UPDATE covm_records AS r SET body = :body, judged = :judged WHERE r.id = :id AND {LACKING}",  # noqa: S608
        {"id": record.bytes, "body": body, "judged": judged},
    )


def _lacking(rows: Sequence[tuple[int, bytes]]) -> list[Lacking]:
    records = open_records([bytes(envelope) for _, envelope in rows])
    return [
        Lacking(number, record)
        for (number, _), record in zip(rows, records, strict=True)
        if not isinstance(record, Malformed)
    ]
