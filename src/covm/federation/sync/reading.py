"""The queries behind collections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from covm.federation.sync import tables
from covm.federation.sync.body_rows import LACKING
from covm.federation.sync.rows import in_lists
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord, decode_record_body, open_records

if TYPE_CHECKING:
    from covm._native import Link
    from covm.federation.store.interface import Transaction

_SELECT: Final = (
    f"SELECT r.envelope, r.body, r.state, r.reason, r.judged, CASE WHEN {LACKING} THEN 1 ELSE 0 END "  # noqa: S608 - own
    "FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id WHERE "
)
_OF_TYPE: Final = _SELECT + "t.name = :type AND "
_HEADS: Final = "r.state = 1 AND r.op < 2 AND r.superseded = 0"

NOT_HERE: Final = "its body is not here yet"

State = Literal["valid", "void", "held"]
_STATES: Final[dict[int, State]] = {tables.HELD: "held", tables.VALID: "valid", tables.VOID: "void"}


class Read(NamedTuple):
    """A record as it is here."""

    record: SignedRecord
    value: Any
    """None without a body."""
    state: State
    reason: str
    lacks_body: bool = False
    """Whether the value is None because the body has not come yet."""


def heads(tx: Transaction, type_name: str, keys: Sequence[str]) -> list[Read]:
    """The heads of keys."""
    found: list[Read] = []
    for names, values in in_lists("k", keys):
        rows = tx.execute(_OF_TYPE + f"{_HEADS} AND r.key IN ({names})", {"type": type_name, **values})
        found += _read(rows.all())
    return found


def listed(tx: Transaction, type_name: str, prefix: str, after: str, limit: int) -> list[Read]:
    """The heads of the first keys that begin so, behind another, in order."""
    keys = tx.execute(
        "SELECT DISTINCT r.key FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "  # noqa: S608 - own text
        f"WHERE t.name = :type AND {_HEADS} AND r.op = 0 AND r.key > :after AND r.key >= :prefix AND r.key < :end "
        "ORDER BY r.key LIMIT :limit",
        {"type": type_name, "after": after, "prefix": prefix, "end": prefix + "\U0010ffff", "limit": limit},
    ).scalars()
    found = heads(tx, type_name, keys)
    return sorted(found, key=lambda each: each.record.body.key)


def history(tx: Transaction, type_name: str, key: str) -> list[Read]:
    """Every record of a key."""
    return _read(tx.execute(_OF_TYPE + "r.key = :key", {"type": type_name, "key": key}).all())


def conflicts(tx: Transaction, type_name: str, limit: int) -> list[str]:
    """Keys with several heads, the oldest conflict first."""
    return tx.execute(
        "SELECT c.key FROM covm_conflicts c JOIN covm_record_types t ON t.id = c.type_id WHERE t.name = :type "
        "ORDER BY c.since_ms, c.key LIMIT :limit",
        {"type": type_name, "limit": limit},
    ).scalars()


def one(tx: Transaction, record: Link) -> Read | None:
    """A record by its id."""
    found = _read(tx.execute(_SELECT + "r.id = :id", {"id": record.bytes}).all())
    return found[0] if found else None


class Counts(NamedTuple):
    """Records of a type."""

    records: int
    held: int
    void: int
    conflicts: int


NOTHING: Final = Counts(0, 0, 0, 0)


def counts(tx: Transaction) -> dict[str, Counts]:
    """Of each type: records, those that wait, those that are void, and keys in conflict."""
    rows = tx.execute(
        "SELECT t.name, count(*), sum(CASE WHEN r.state = 0 THEN 1 ELSE 0 END), "
        "sum(CASE WHEN r.state = 2 THEN 1 ELSE 0 END) FROM covm_records r "
        "JOIN covm_record_types t ON t.id = r.type_id GROUP BY t.name"
    ).all()
    open_ones = dict(
        tx.execute(
            "SELECT t.name, count(*) FROM covm_conflicts c JOIN covm_record_types t ON t.id = c.type_id GROUP BY t.name"
        ).all()
    )
    return {name: Counts(records, int(held), int(void), open_ones.get(name, 0)) for name, records, held, void in rows}


def judged(tx: Transaction, type_name: str, after: int, limit: int) -> list[tuple[int, Read]]:
    """Records in the order of their judgements, with the numbers of those, behind one."""
    rows = tx.execute(
        _OF_TYPE + "r.judged > :after ORDER BY r.judged LIMIT :limit",
        {"type": type_name, "after": after, "limit": limit},
    ).all()
    return [(row[4], read) for row, read in zip(rows, _read(rows), strict=True)]


def _read(rows: Iterable[Sequence[Any]]) -> list[Read]:
    listed_rows = list(rows)
    records = open_records([bytes(row[0]) for row in listed_rows])
    found: list[Read] = []
    for record, row in zip(records, listed_rows, strict=True):
        assert not isinstance(record, Malformed)  # noqa: S101 - it was verified before it was written
        value = None if row[1] is None else decode_record_body(bytes(row[1]), record.body).value
        found.append(Read(record, value, _STATES[row[2]], NOT_HERE if row[5] else row[3], bool(row[5])))
    return found
