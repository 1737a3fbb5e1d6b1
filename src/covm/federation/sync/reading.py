"""The queries behind collections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from covm import _native
from covm.federation.sync import tables
from covm.federation.sync.body_rows import LACKING
from covm.federation.sync.rows import in_lists
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import Hlc, SignedRecord, decode_record_body, open_records

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

_SELECT: Final = (
    "SELECT r.envelope, r.body, r.state, r.reason, r.judged, e.envelope, e.body, r.superseded, "  # noqa: S608 - own text
    f"CASE WHEN {LACKING} THEN 1 ELSE 0 END, r.erased_by, CASE WHEN r.replaced_at < 0 THEN 1 ELSE 0 END "
    "FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "
    "LEFT JOIN covm_records e ON e.id = r.erased_by WHERE t.name = :type AND "
)
_HEADS: Final = "r.state = 1 AND r.op < 2 AND r.superseded = 0"

MAX_READ_BYTES: Final = 16 * 1024 * 1024
"""Bytes of bodies that are read at once, but for those of one record, or of one key's heads: sixteen of the largest."""

NOT_HERE: Final = "its body is not here yet"
REPLACED: Final = "it was replaced, and its value is not kept any longer"
NEVER_CAME: Final = "it was replaced before its value came"
NOT_HELD: Final = "its value is not held here"

_BYTES: Final = "sum(coalesce(length(r.body), 0))"
"""Of each key: length() of bytes reads none of them."""

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
    """Whether it has a body, and that is not here."""
    erase: SignedRecord | None = None
    """What took its body away."""
    why: str = ""
    """The reason that the erase gives."""
    erased_by: _native.Link | None = None
    """The id of the erase, or of the erasure that members have approved."""
    is_replaced: bool = False
    """Whether one that counts stands behind it."""
    is_coming: bool = False
    """Whether its body is lacking, and fetched, at once or when somebody looks."""
    never_came: bool = False
    """Whether it was replaced before its body came."""


def heads(tx: Transaction, type_name: str, keys: Sequence[str]) -> list[Read]:
    """The heads of keys."""
    found: list[Read] = []
    for names, values in in_lists("k", keys):
        rows = tx.execute(_SELECT + f"{_HEADS} AND r.key IN ({names})", {"type": type_name, **values})
        found += _read(rows.all())
    return found


def first_within(sizes: Iterable[Sequence[Any]], limit_bytes: int) -> list[Any]:
    """Of things with their sizes in bytes the first that fit; at least one if there is any."""
    taken: list[Any] = []
    for thing, size_bytes in sizes:
        limit_bytes -= size_bytes
        if taken and limit_bytes < 0:
            break
        taken.append(thing)
    return taken


def listed(tx: Transaction, type_name: str, prefix: str, after: str, limit: int) -> list[Read]:
    """The heads of the first keys that begin so, behind another, in order: as many as fit."""
    sizes = tx.execute(
        f"SELECT r.key, {_BYTES} FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "  # noqa: S608 - own text
        f"WHERE t.name = :type AND {_HEADS} AND r.op = 0 AND r.key > :after AND r.key >= :prefix AND r.key < :end "
        "GROUP BY r.key ORDER BY r.key LIMIT :limit",
        {"type": type_name, "after": after, "prefix": prefix, "end": prefix + "\U0010ffff", "limit": limit},
    )
    found = heads(tx, type_name, first_within(sizes, MAX_READ_BYTES))
    return sorted(found, key=lambda each: each.record.body.key)


def history(tx: Transaction, type_name: str, key: str, after: bytes | None, limit: int) -> list[Read]:
    """Records of a key in the order of their clocks, behind another by its id: as many as fit."""
    behind, fields = "", {"type": type_name, "key": key, "limit": limit}
    if after is not None:
        clock = "SELECT a.time_ms, a.counter, a.id FROM covm_records a WHERE a.id = :after"
        behind, fields = f"AND (r.time_ms, r.counter, r.id) > ({clock}) ", {**fields, "after": after}
    sizes = tx.execute(
        "SELECT r.number, coalesce(length(r.body), 0) FROM covm_records r "  # noqa: S608 - own text
        "JOIN covm_record_types t ON t.id = r.type_id WHERE t.name = :type AND r.key = :key "
        f"{behind}ORDER BY r.time_ms, r.counter, r.id LIMIT :limit",
        fields,
    )
    found: list[Read] = []
    for names, values in in_lists("n", first_within(sizes, MAX_READ_BYTES)):
        found += _read(tx.execute(_SELECT + f"r.number IN ({names})", {"type": type_name, **values}).all())
    return sorted(found, key=by_clock)


def by_clock(read: Read) -> tuple[Hlc, bytes]:
    """Orders records the same on every node."""
    return read.record.body.hlc, read.record.id.bytes


def conflicts(tx: Transaction, type_name: str, limit: int) -> dict[str, list[Read]]:
    """The heads of keys with several, the oldest conflict first: as many as fit."""
    keys = tx.execute(
        "SELECT c.key FROM covm_conflicts c JOIN covm_record_types t ON t.id = c.type_id WHERE t.name = :type "
        "ORDER BY c.since_ms, c.key LIMIT :limit",
        {"type": type_name, "limit": limit},
    ).scalars()
    found: dict[str, list[Read]] = {key: [] for key in fitting(tx, type_name, keys)}
    for each in heads(tx, type_name, list(found)):
        found[each.record.body.key].append(each)
    return found


def fitting(tx: Transaction, type_name: str, keys: Sequence[str]) -> list[str]:
    """The first of these keys whose heads may be read at once."""
    sizes: dict[str, int] = {}
    for names, values in in_lists("k", keys):
        query = (
            f"SELECT r.key, {_BYTES} FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "  # noqa: S608
            f"WHERE t.name = :type AND {_HEADS} AND r.key IN ({names}) GROUP BY r.key"
        )
        sizes.update((key, size) for key, size in tx.execute(query, {"type": type_name, **values}))
    return first_within([(key, sizes.get(key, 0)) for key in keys], MAX_READ_BYTES)


def why_lacking(read: Read, eraser: str) -> str:
    """Why a record's value is not here, where it is not; `eraser` is who erased it, if somebody did."""
    if read.erase is not None:
        return f"its value was erased by {eraser}" + (read.why and f": {read.why}")
    if read.erased_by is not None:
        return "its value was erased, as founders have approved"
    if read.is_coming:
        return NOT_HERE
    return NEVER_CAME if read.never_came else REPLACED if read.is_replaced else NOT_HELD


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


def last_judged(tx: Transaction) -> int:
    """The number of the last judgement, of whatever type."""
    return tx.execute("SELECT max(judged) FROM covm_records").scalar() or 0


def counting(tx: Transaction) -> frozenset[str]:
    """The types of which some put counts."""
    return frozenset(
        tx.execute(
            "SELECT t.name FROM covm_record_types t WHERE EXISTS (SELECT 1 FROM covm_records r "
            "WHERE r.type_id = t.id AND r.told > 0 AND r.state = 1)"
        ).scalars()
    )


class Judged(NamedTuple):
    """Records with the numbers of their judgements."""

    found: list[tuple[int, Read]]
    is_all: bool
    """Whether there was nothing behind them."""


def judged(tx: Transaction, type_name: str, after: int, limit: int) -> Judged:
    """Records in the order of their judgements, with the numbers of those, behind one: as many as fit."""
    sizes = tx.execute(
        "SELECT r.judged, coalesce(length(r.body), 0) FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "
        "WHERE t.name = :type AND r.judged > :after ORDER BY r.judged LIMIT :limit",
        {"type": type_name, "after": after, "limit": limit},
    ).all()
    taken = first_within(sizes, MAX_READ_BYTES)
    if not taken:
        return Judged([], is_all=True)
    rows = tx.execute(
        _SELECT + "r.judged > :after AND r.judged <= :last ORDER BY r.judged",
        {"type": type_name, "after": after, "last": taken[-1]},
    ).all()
    found = [(row[4], read) for row, read in zip(rows, _read(rows), strict=True)]
    return Judged(found, is_all=len(taken) == len(sizes) < limit)


def _read(rows: Iterable[Sequence[Any]]) -> list[Read]:
    listed_rows = list(rows)
    records = open_records([bytes(row[0]) for row in listed_rows])
    found: list[Read] = []
    for record, row in zip(records, listed_rows, strict=True):
        assert not isinstance(record, Malformed)  # noqa: S101 - it was verified before it was written
        lacks_body = row[1] is None and record.body.body is not None
        found.append(
            Read(
                record,
                _value(record, row[1]),
                _STATES[row[2]],
                row[3],
                lacks_body,
                *_erased(row[5], row[6]),
                erased_by=None if row[9] is None else _native.Link(bytes(row[9])),
                is_replaced=bool(row[7]),
                is_coming=bool(row[8]),
                never_came=bool(row[10]),
            )
        )
    return found


def _value(record: SignedRecord, body: bytes | None) -> Any:
    return None if body is None else decode_record_body(bytes(body), record.body).value


def _erased(envelope: bytes | None, body: bytes | None) -> tuple[SignedRecord | None, str]:
    """The erase of a record, and why; nobody checked that this is a text."""
    if envelope is None:
        return None, ""
    [erase] = open_records([bytes(envelope)])
    assert not isinstance(erase, Malformed)  # noqa: S101 - as above
    why = _value(erase, body)
    return erase, why if isinstance(why, str) else ""


class Found(NamedTuple):
    """A record, as far as people name it."""

    type: str
    key: str
    id: str


def between(tx: Transaction, first: bytes, last: bytes, limit: int) -> list[Found]:
    """Records whose binary ids lie between these."""
    rows = tx.execute(
        "SELECT t.name, r.key, r.id FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "
        "WHERE r.id >= :first AND r.id <= :last ORDER BY r.id LIMIT :limit",
        {"first": first, "last": last, "limit": limit},
    )
    return [Found(row[0], row[1], str(_native.Link(bytes(row[2])))) for row in rows]


def with_id(tx: Transaction, type_name: str, link: bytes) -> Read | None:
    """A record by its id."""
    found = _read(tx.execute(_SELECT + "r.id = :id", {"type": type_name, "id": link}).all())
    return found[0] if found else None
