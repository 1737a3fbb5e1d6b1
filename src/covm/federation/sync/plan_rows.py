"""Writes a plan: the job that changes records; bodies that come later are `body_rows`'."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from covm import _native
from covm.federation.identity.branches import Spot
from covm.federation.identity.verdicts import Status
from covm.federation.sync import tables, usage_rows
from covm.federation.sync.body_rows import LACKING, REPLACED
from covm.federation.sync.heads import Node, reached_in
from covm.federation.sync.judging import Known
from covm.federation.sync.logs import Log
from covm.federation.sync.plan import Plan, Row
from covm.federation.sync.quotas import Usage
from covm.federation.sync.rows import ASIDE, all_of, in_lists, parents_in
from covm.federation.wire.sync_frames import MAX_CARRIED_BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from covm.federation.store.interface import Transaction

_OPS: Final = {"put": tables.PUT, "delete": tables.DELETE, "erase": tables.ERASE}

_COLUMNS: Final = (
    "id",
    "log_id",
    "branch",
    "seq",
    "type_id",
    "key",
    "op",
    "state",
    "reason",
    "superseded",
    "closers",
    "time_ms",
    "counter",
    "identity_seq",
    "judged",
    "told",
    "parents",
    "envelope",
    "body",
    "target",
    "erased_by",
    "replaced_ms",
    "replaced_at",
)

_REPLACED: Final = (
    "UPDATE covm_records SET superseded = 1, replaced_ms = CASE WHEN op = 0 THEN :now END, "
    "replaced_at = CASE WHEN op = 0 THEN CASE WHEN body IS NULL THEN :bare_at ELSE :at END END WHERE id = :id"
)
_NOT_REPLACED: Final = "UPDATE covm_records SET superseded = 0, replaced_ms = NULL, replaced_at = NULL WHERE id = :id"


class Kept(NamedTuple):
    """What there is to know of a plan that was written."""

    logs: dict[_native.Link, int]
    """The rows of its logs."""
    conflicts: list[tuple[str, str, bool]]
    """Types and keys that have several heads from now on, or have them no more."""
    unseen: int
    """Records that were erased before their bodies were here."""
    usage: usage_rows.Changes
    """What its logs have more, and those less of which something was erased."""


def write(tx: Transaction, plan: Plan, judged: int, now_ms: int) -> Kept:
    """Writes a plan. Judgements are numbered above `judged`."""
    types = {name: _type_id(tx, name) for name in {log.type for log in plan.logs.values()}}
    numbers = _save_logs(tx, plan, types)
    order = {record: judged + place for place, record in enumerate(plan.judged, 1)}
    fresh = [row for row in plan.rows.values() if row.is_new]
    since = {"now": now_ms, "at": judged + len(plan.judged), "bare_at": -(judged + len(plan.judged))}
    kept = [_kept(row, plan.erased, since) for row in fresh]
    tx.insert(
        tables.records,
        _COLUMNS,
        [
            (*_values(row, numbers[row.known.log], types[row.known.type], order.get(row.known.id)), *its)
            for row, its in zip(fresh, kept, strict=True)
        ],
    )
    usage = _stored(fresh, [body for body, *_ in kept])
    for row in plan.rows.values():
        if not row.is_new:
            _update(tx, row, order.get(row.known.id))
    for link in plan.superseded:
        if (mine := plan.rows.get(link)) is None or not mine.is_new:
            tx.execute(_REPLACED, {"id": link.bytes, **since})
    for link, closers in plan.closed.items():
        if (mine := plan.rows.get(link)) is None or not mine.is_new:
            tx.execute(
                "UPDATE covm_records SET closers = :closers WHERE id = :id",
                {"id": link.bytes, "closers": _spots_text(closers)},
            )
    unseen = sum(plan.erased.get(row.known.id) is not None for row in fresh)
    looked_at = {
        link: by for link, by in plan.erased.items() if (mine := plan.rows.get(link)) is None or not mine.is_new
    }
    usage_rows.add_up(usage, _freed_by(tx, looked_at).items())
    for link, eraser in looked_at.items():
        unseen += _erase(tx, link, eraser)
    usage_rows.count(tx, usage)
    conflicts = dict(plan.conflicts)
    conflicts.update(((name, key), _recount(tx, types[name], key, since) > 1) for name, key in sorted(plan.recount))
    changed = [
        (name, key, is_conflict)
        for (name, key), is_conflict in conflicts.items()
        if _note_conflict(tx, types[name], key, is_conflict=is_conflict, now_ms=now_ms)
    ]
    if plan.judged:
        tables.save_last_judgement(tx, judged + len(plan.judged))
    for job in plan.also:
        job(tx)
    return Kept(numbers, changed, unseen, usage)


def _stored(fresh: Sequence[Row], bodies: Sequence[bytes | None]) -> dict[_native.Link, Usage]:
    """What these records, with these bodies, come to by log."""
    records, sizes = Counter[_native.Link](), Counter[_native.Link]()
    for row, body in zip(fresh, bodies, strict=True):
        records[row.known.log] += 1
        sizes[row.known.log] += len(row.arrived.record.envelope) + len(body or b"")
    return {log: Usage(count, sizes[log]) for log, count in records.items()}


def _freed_by(tx: Transaction, erased: Mapping[_native.Link, _native.Link | None]) -> dict[_native.Link, Usage]:
    """What logs have less by that; before it is done."""
    return usage_rows.bodies_of(tx, "id", [link.bytes for link, eraser in erased.items() if eraser is not None])


def _erase(tx: Transaction, record: _native.Link, eraser: _native.Link | None) -> int:
    """Drops a record's body. Where no erase is valid any more, it may come again from whoever has it still.

    Returns whether the body was never here.
    """
    fields = {"id": record.bytes, "by": None if eraser is None else eraser.bytes}
    if eraser is None:
        tx.execute("UPDATE covm_records SET erased_by = NULL WHERE id = :id AND erased_by IS NOT NULL", fields)
        return 0
    query = f"SELECT count(*) FROM covm_records r WHERE r.id = :id AND ({LACKING} OR {REPLACED})"  # noqa: S608 - own text
    unseen = int(tx.execute(query, fields).scalar_one())
    erased = "body = NULL, erased_by = :by, replaced_at = -abs(replaced_at)"
    tx.execute(f"UPDATE covm_records SET {erased} WHERE id = :id", fields)  # noqa: S608 - own text
    return unseen


class Erased(NamedTuple):
    """What became of an erasure."""

    records: set[_native.Link]
    """Which are otherwise erased than before."""
    usage: usage_rows.Changes
    """What their logs have less."""


def erase(tx: Transaction, erased: Mapping[_native.Link, _native.Link | None], judged: int) -> Erased:
    """Drops bodies that are to be dropped by now.

    Whoever follows changes sees the records anew: their judgements are numbered above `judged`.
    """
    changed: set[_native.Link] = set()
    freed = _freed_by(tx, erased)
    for number, (record, eraser) in enumerate(erased.items(), judged + 1):
        query = "SELECT erased_by FROM covm_records WHERE id = :id"
        by = tx.execute(query, {"id": record.bytes}).scalar()
        if (None if by is None else bytes(by)) != (None if eraser is None else eraser.bytes):
            _erase(tx, record, eraser)
            query = "UPDATE covm_records SET judged = :judged WHERE id = :id AND judged IS NOT NULL"
            tx.execute(query, {"id": record.bytes, "judged": number})
            changed.add(record)
    tables.save_last_judgement(tx, judged + len(erased))
    usage_rows.count(tx, freed)
    return Erased(changed, freed)


def _recount(tx: Transaction, type_id: int, key: str, since: Mapping[str, int]) -> int:
    """Finds the heads of a key anew; how many there are."""
    fields = {"type": type_id, "key": key}
    query = "SELECT id, parents, state, op, superseded FROM covm_records WHERE type_id = :type AND key = :key"
    nodes = [
        Node(
            _native.Link(bytes(row[0])),
            parents_in(row[1]),
            counts=row[2] == tables.VALID and row[3] != tables.ERASE,
            superseded=bool(row[4]),
        )
        for row in tx.execute(query, fields)
    ]
    reached = reached_in(nodes)
    for node in nodes:
        if node.id in reached and not node.superseded:
            tx.execute(_REPLACED, {"id": node.id.bytes, **since})
        elif node.superseded and node.id not in reached:
            tx.execute(_NOT_REPLACED, {"id": node.id.bytes})
    return sum(node.counts and node.id not in reached for node in nodes)


def _note_conflict(tx: Transaction, type_id: int, key: str, *, is_conflict: bool, now_ms: int) -> bool:
    """Keeps whether a key has several heads; returns whether that is news."""
    fields = {"type": type_id, "key": key}
    query = "SELECT count(*) FROM covm_conflicts WHERE type_id = :type AND key = :key"
    if bool(tx.execute(query, fields).scalar()) == is_conflict:
        return False
    if is_conflict:
        tx.insert(tables.conflicts, ("type_id", "key", "since_ms"), [(type_id, key, now_ms)], or_ignore=True)
    else:
        tx.execute("DELETE FROM covm_conflicts WHERE type_id = :type AND key = :key", fields)
    return True


def _save_logs(tx: Transaction, plan: Plan, types: dict[str, int]) -> dict[_native.Link, int]:
    numbers = {link: log.number for link, log in plan.logs.items() if log.number is not None}
    fresh = {link: log for link, log in plan.logs.items() if log.number is None}
    rows = [
        (link.bytes, types[log.type], log.author, log.incarnation.number, log.incarnation.nonce, log.basis)
        for link, log in fresh.items()
    ]
    tx.insert(tables.logs, ("log", "type_id", "author", "number", "nonce", "basis"), rows, or_ignore=True)
    for names, values in in_lists("l", [link.bytes for link in fresh]):
        found = tx.execute(f"SELECT log, id FROM covm_record_logs WHERE log IN ({names})", values)  # noqa: S608
        numbers.update((_native.Link(bytes(row[0])), row[1]) for row in found)
    for link in plan.rebased:
        basis = {"basis": plan.logs[link].basis, "id": numbers[link]}
        tx.execute("UPDATE covm_record_logs SET basis = :basis WHERE id = :id", basis)
    for names, values in in_lists("l", [number for link, number in numbers.items() if link not in fresh]):
        tx.execute(f"DELETE FROM covm_record_branches WHERE log_id IN ({names})", values)  # noqa: S608 - own names
    branches = [row for link, log in plan.logs.items() for row in _branch_rows(numbers[link], log)]
    tx.insert(tables.branches, [column.name for column in tables.branches.columns], branches)
    return numbers


def _branch_rows(number: int, log: Log) -> list[tuple[Any, ...]]:
    rows = []
    for index, branch in enumerate(all_of(log.branches)):
        ended, first = log.ends[index], log.firsts.get(index)
        assert ended.hlc is not None  # noqa: S101 - every branch has a record
        rows.append(
            (
                number,
                index,
                branch.parent,
                branch.begins,
                branch.tip_seq,
                branch.tip.bytes,
                ended.hlc.time_ms,
                ended.hlc.counter,
                ended.identity_seq,
                first.credential.bytes if first else None,
                first.identity.bytes if first else None,
            )
        )
    return rows


def _type_id(tx: Transaction, name: str) -> int:
    tx.insert(tables.types, ("name",), [(name,)], or_ignore=True)
    return int(tx.execute("SELECT id FROM covm_record_types WHERE name = :name", {"name": name}).scalar_one())


def _values(row: Row, log: int, type_id: int, judged: int | None) -> tuple[Any, ...]:
    known, record = row.known, row.arrived.record
    return (
        known.id.bytes,
        log,
        known.spot.branch,
        known.spot.seq,
        type_id,
        known.key,
        _OPS[record.body.op],
        _state(row),
        "" if row.verdict.holds else row.verdict.reason,
        int(known.superseded),
        _closers_text(known),
        known.hlc.time_ms,
        known.hlc.counter,
        known.identity_seq,
        judged,
        _told(row, judged),
        b"".join(parent.bytes for parent in known.parents),
        record.envelope,
    )


def _kept(
    row: Row, erased: Mapping[_native.Link, _native.Link | None], since: Mapping[str, int]
) -> tuple[bytes | None, bytes | None, bytes | None, int | None, int | None]:
    """Its body, what it erases and what erased it, and since when it is replaced while that is here."""
    target, eraser = row.arrived.record.body.target, erased.get(row.known.id)
    body = row.arrived.body if eraser is None else None
    # A small one that came without its body has been dropped by others; a large one never comes with it.
    is_ageing = row.known.superseded and (body is not None or row.arrived.record.body.size > MAX_CARRIED_BODY)
    return (
        body,
        None if target is None else target.bytes,
        None if eraser is None else eraser.bytes,
        since["now"] if is_ageing else None,
        (since["at"] if body is not None else since["bare_at"]) if is_ageing else None,
    )


def _update(tx: Transaction, row: Row, judged: int | None) -> None:
    tx.execute(
        "UPDATE covm_records SET state = :state, reason = :reason, superseded = :superseded, closers = :closers, "
        "identity_seq = :seq, judged = :judged, told = COALESCE(told, :told) WHERE id = :id",
        {
            "id": row.known.id.bytes,
            "state": _state(row),
            "reason": "" if row.verdict.holds else row.verdict.reason,
            "superseded": int(row.known.superseded),
            "closers": _closers_text(row.known),
            "seq": row.known.identity_seq,
            "judged": judged,
            "told": _told(row, judged),
        },
    )


def _told(row: Row, judged: int | None) -> int | None:
    """The place of a record among what handlers are given, unless it has one."""
    return judged if _state(row) == tables.VALID and row.arrived.record.body.op == "put" else None


def _state(row: Row) -> int:
    if row.is_held:
        return tables.HELD
    return tables.VALID if row.verdict.status is Status.VALID else tables.VOID


def _closers_text(known: Known) -> str:
    return ASIDE if known.is_aside else _spots_text(known.closers)


def _spots_text(closers: Iterable[Spot]) -> str:
    return " ".join(f"{each.branch}:{each.seq}" for each in closers)
