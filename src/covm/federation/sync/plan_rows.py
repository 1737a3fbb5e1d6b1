"""Writes a plan: the one job that changes records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from covm import _native
from covm.federation.identity.branches import Spot
from covm.federation.identity.verdicts import Status
from covm.federation.sync import tables
from covm.federation.sync.heads import Node, reached_in
from covm.federation.sync.judging import Known
from covm.federation.sync.logs import Log
from covm.federation.sync.plan import Plan, Row
from covm.federation.sync.rows import ASIDE, all_of, in_lists, parents_in

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    "parents",
    "envelope",
    "body",
)


def write(tx: Transaction, plan: Plan, judged: int, now_ms: int) -> dict[_native.Link, int]:
    """Writes a plan. Judgements are numbered above `judged`. Returns the rows of the logs that have one now."""
    types = {name: _type_id(tx, name) for name in {log.type for log in plan.logs.values()}}
    numbers = _save_logs(tx, plan, types)
    order = {record: judged + place for place, record in enumerate(plan.judged, 1)}
    fresh = [row for row in plan.rows.values() if row.is_new]
    tx.insert(
        tables.records,
        _COLUMNS,
        [_values(row, numbers[row.known.log], types[row.known.type], order.get(row.known.id)) for row in fresh],
    )
    for row in plan.rows.values():
        if not row.is_new:
            _update(tx, row, order.get(row.known.id))
    for link in plan.superseded:
        if (mine := plan.rows.get(link)) is None or not mine.is_new:
            tx.execute("UPDATE covm_records SET superseded = 1 WHERE id = :id", {"id": link.bytes})
    for link, closers in plan.closed.items():
        if (mine := plan.rows.get(link)) is None or not mine.is_new:
            tx.execute(
                "UPDATE covm_records SET closers = :closers WHERE id = :id",
                {"id": link.bytes, "closers": _spots_text(closers)},
            )
    for (name, key), is_conflict in plan.conflicts.items():
        _note_conflict(tx, types[name], key, is_conflict=is_conflict, now_ms=now_ms)
    for name, key in plan.recount:
        heads = _recount(tx, types[name], key)
        _note_conflict(tx, types[name], key, is_conflict=heads > 1, now_ms=now_ms)
    return numbers


def _recount(tx: Transaction, type_id: int, key: str) -> int:
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
        if (node.id in reached) != node.superseded:
            tx.execute(
                "UPDATE covm_records SET superseded = :superseded WHERE id = :id",
                {"superseded": int(node.id in reached), "id": node.id.bytes},
            )
    return sum(node.counts and node.id not in reached for node in nodes)


def _note_conflict(tx: Transaction, type_id: int, key: str, *, is_conflict: bool, now_ms: int) -> None:
    """Keeps whether a key has several heads."""
    if is_conflict:
        tx.insert(tables.conflicts, ("type_id", "key", "since_ms"), [(type_id, key, now_ms)], or_ignore=True)
    else:
        fields = {"type": type_id, "key": key}
        tx.execute("DELETE FROM covm_conflicts WHERE type_id = :type AND key = :key", fields)


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
        b"".join(parent.bytes for parent in known.parents),
        record.envelope,
        row.arrived.body,
    )


def _update(tx: Transaction, row: Row, judged: int | None) -> None:
    tx.execute(
        "UPDATE covm_records SET state = :state, reason = :reason, superseded = :superseded, closers = :closers, "
        "identity_seq = :seq, judged = :judged WHERE id = :id",
        {
            "id": row.known.id.bytes,
            "state": _state(row),
            "reason": "" if row.verdict.holds else row.verdict.reason,
            "superseded": int(row.known.superseded),
            "closers": _closers_text(row.known),
            "seq": row.known.identity_seq,
            "judged": judged,
        },
    )


def _state(row: Row) -> int:
    if row.is_held:
        return tables.HELD
    return tables.VALID if row.verdict.status is Status.VALID else tables.VOID


def _closers_text(known: Known) -> str:
    return ASIDE if known.is_aside else _spots_text(known.closers)


def _spots_text(closers: Iterable[Spot]) -> str:
    return " ".join(f"{each.branch}:{each.seq}" for each in closers)
