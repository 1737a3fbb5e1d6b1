"""What is read of the inbox: at the start, into lanes, and for people. Jobs of the store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

import msgspec

from covm.federation.dispatch import tables
from covm.federation.dispatch.durable import Durable, record_in
from covm.federation.dispatch.lanes import Lane
from covm.federation.dispatch.peer_rows import known_peer_row
from covm.federation.store.tables import delete_meta, get_meta, put_meta
from covm.federation.wire.limits import MID_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody, decode_body

if TYPE_CHECKING:
    from covm.federation.ports import Publications, Said
    from covm.federation.store.interface import Transaction

CLEAN: Final = "inbox_clean"
"""Present while no handler can be in the middle of a message: the last stop was an orderly one.

It names the feeds, as JSON, of which the handlers may all the same have been given what comes next: before a crash, and
in the life after that the feed did not get so far.
"""

_AT_ONCE: Final = 250
"""Values of one IN list."""

STATES: Final = {tables.PENDING: "pending", tables.QUARANTINE: "quarantined", tables.UNHANDLED: "unhandled"}

_SHOWN: Final = (
    "SELECT i.id, p.peer, i.mid, i.type, i.size, i.received_at, i.expires_at, i.state, i.attempts, i.done, i.reason "
    "FROM covm_inbox i JOIN covm_peers p ON p.id = i.author_id"
)


class Waiting(NamedTuple):
    """What lies in the inbox for one lane, in one state."""

    lane: Lane
    state: int
    messages: int
    size_bytes: int
    last_id: int


class Found(NamedTuple):
    """The inbox at the start of a node."""

    last_id: int
    waiting: list[Waiting]
    suspects: set[int]
    """Feeds whose handlers may have been given what comes next when the node crashed."""


class Damaged(NamedTuple):
    """A message whose body is not any more what was stored."""

    inbox_id: int
    mid: bytes
    size_bytes: int
    attempts: int
    done: tuple[str, ...]


class Loaded(NamedTuple):
    """The next messages of a lane, up to `last_id`; `is_all`: there are no others."""

    arrivals: list[Durable]
    damaged: list[Damaged]
    gone: list[tuple[Durable, str]]
    """Records that say nothing here any more, and why."""
    last_id: int
    is_all: bool


class InboxEntry(NamedTuple):
    """A message that arrived and is not dealt with, as people see it. Times are milliseconds since 1970-01-01 UTC."""

    id: str
    """32 hexadecimal digits."""
    author: str
    """Its author's peer id."""
    type: str
    """The type's name."""
    state: str
    """`pending`, `quarantined`, or `unhandled`: nobody handles its type yet."""
    size_bytes: int
    """Bytes of its signed body."""
    received_at_ms: int
    """When it was stored here."""
    expires_at_ms: int
    """When its sender stops sending it, by the sender's clock."""
    attempts: int
    """How often handlers were given it."""
    done: tuple[str, ...]
    """Names of the handlers that are through with it."""
    reason: str
    """Why it was quarantined, now or before; and why a record says nothing here any more, if it was erased since."""
    number: int
    """Its place in the inbox, to page on."""


def open_inbox(tx: Transaction) -> Found:
    """What is there when a node starts. What a handler may have had when it died counts one attempt more."""
    clean = get_meta(tx, CLEAN)
    if clean is not None:
        delete_meta(tx, CLEAN)
        suspects = json.loads(clean) if clean != b"1" else []  # as it was before there were feeds in it
    else:
        suspects = tx.execute("SELECT id FROM covm_feeds").scalars()
        tx.execute("UPDATE covm_inbox SET attempts = attempts + 1 WHERE state = :state", {"state": tables.PENDING})
    last_id = tx.execute("SELECT max(id) FROM covm_inbox").scalar() or 0
    rows = tx.execute(
        "SELECT p.peer, i.type, i.state, count(*), sum(i.size), max(i.id) FROM covm_inbox i "
        "JOIN covm_peers p ON p.id = i.author_id GROUP BY p.peer, i.type, i.state"
    ).all()
    waiting = [Waiting((peer, kind), state, count, int(size), top) for peer, kind, state, count, size, top in rows]
    return Found(int(last_id), waiting, set(suspects))


def mark_clean(tx: Transaction, suspects: Iterable[int]) -> None:
    """The node stops in order: what is pending has been tried as often as its row says, but for these feeds."""
    put_meta(tx, CLEAN, json.dumps(sorted(suspects)).encode())


def load_lane(
    tx: Transaction, publications: Publications | None, lane: Lane, after: int, limit: int, limit_bytes: int
) -> Loaded:
    """The next pending messages of a lane, at least one if there is any; and whether that is all of them."""
    lane_is = "FROM covm_inbox WHERE author_id = :author AND type = :type AND state = :state AND id > :after"
    fields = {"author": known_peer_row(tx, lane[0]), "type": lane[1], "after": after, "state": tables.PENDING}
    found = tx.execute(f"SELECT id, size {lane_is} ORDER BY id LIMIT :limit", {**fields, "limit": limit}).all()
    taken = 0
    for _, size in found:
        limit_bytes -= size
        if taken and limit_bytes < 0:
            break
        taken += 1
    if not taken:
        return Loaded([], [], [], after, is_all=True)
    rows = tx.execute(
        f"SELECT id, mid, body, checksum, size, attempts, done, reason, line_id {lane_is} AND id <= :last ORDER BY id",
        {**fields, "last": found[taken - 1][0]},
    ).all()
    loaded = Loaded([], [], [], rows[-1][0], is_all=taken == len(found) < limit)
    for at, mid, body, checksum, size, attempts, done_text, reason, line_id in rows:
        done = tuple(json.loads(done_text))
        message = undamaged(bytes(body), checksum)
        if message is None:
            loaded.damaged.append(Damaged(at, bytes(mid), size, attempts, done))
        else:
            # Whatever has a reason was in quarantine.
            is_record = line_id == tables.NO_LINE
            gone = ""
            if is_record and publications is not None:
                message, gone = _whole(tx, publications, message)
            arrival = Durable(message, size, at, attempts, done, out_of_order=bool(reason), is_record=is_record)
            if gone:
                loaded.gone.append((arrival, gone))
            else:
                loaded.arrivals.append(arrival)
    return loaded


def _whole(tx: Transaction, publications: Publications, message: MessageBody) -> tuple[MessageBody, str]:
    """A record from quarantine with what it says, or why that is not here any more."""
    said = publications.said(tx, message.type, record_in(message))
    return msgspec.structs.replace(message, payload=said.payload), said.gone


def undamaged(body: bytes, checksum: int) -> MessageBody | None:
    """A stored body, decoded; None where it is not any more what was stored."""
    if crc32(body) != checksum:
        return None
    try:
        return decode_body(body)
    except Malformed:
        return None


def revive_type(tx: Transaction, type_name: str) -> None:
    """Somebody handles the type now."""
    tx.execute(
        "UPDATE covm_inbox SET state = :pending WHERE state = :unhandled AND type = :type",
        {"pending": tables.PENDING, "unhandled": tables.UNHANDLED, "type": type_name},
    )


def shelve_lane(tx: Transaction, lane: Lane) -> tuple[int, int]:
    """Nobody handles the lane's type: marks its messages so. Returns how many are marked now, and their bytes."""
    fields = {"author": known_peer_row(tx, lane[0]), "type": lane[1], "unhandled": tables.UNHANDLED}
    tx.execute(
        "UPDATE covm_inbox SET state = :unhandled WHERE author_id = :author AND type = :type AND state = :pending",
        {**fields, "pending": tables.PENDING},
    )
    messages, size_bytes = tx.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM covm_inbox "
        "WHERE author_id = :author AND type = :type AND state = :unhandled",
        fields,
    ).one()
    return int(messages), int(size_bytes)


def overdue(tx: Transaction, lane: Lane, before_ms: int, limit: int) -> list[tuple[int, int]]:
    """Ids and sizes of a lane's messages that nobody has handled for too long."""
    rows = tx.execute(
        "SELECT id, size FROM covm_inbox WHERE author_id = :author AND type = :type AND state = :state "
        "AND received_at <= :before ORDER BY id LIMIT :limit",
        {
            "author": known_peer_row(tx, lane[0]),
            "type": lane[1],
            "state": tables.UNHANDLED,
            "before": before_ms,
            "limit": limit,
        },
    ).all()
    return [(at, size) for at, size in rows]


def forget_seen(tx: Transaction, now_ms: int, limit: int) -> int:
    """Forgets message ids whose time is over; returns how many."""
    done = tx.execute(
        "DELETE FROM covm_seen WHERE (author_id, mid) IN "
        "(SELECT author_id, mid FROM covm_seen WHERE forget_at < :now LIMIT :limit)",
        {"now": now_ms, "limit": limit},
    )
    return int(done.rowcount)


def list_entries(
    tx: Transaction,
    publications: Publications | None,
    state: int | None,
    peer: str | None,
    type_name: str | None,
    before_id: int | None,
    limit: int,
) -> list[InboxEntry]:
    """Entries from the newest, below an id to page on."""
    conditions: list[str] = []
    fields: dict[str, Any] = {"limit": limit}
    wanted = (("i.state = :state", state), ("p.peer = :peer", peer), ("i.type = :type", type_name))
    for condition, value in (*wanted, ("i.id < :before", before_id)):
        if value is not None:
            conditions.append(condition)
            fields[condition.rpartition(":")[2]] = value
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = tx.execute(f"{_SHOWN}{where} ORDER BY i.id DESC LIMIT :limit", fields).all()
    gone = {} if publications is None else _gone(tx, publications, [row[0] for row in rows])
    return [_entry(row, gone.get(row[0], "")) for row in rows]


def _gone(tx: Transaction, publications: Publications, ids: Sequence[int]) -> dict[int, str]:
    """Those of these that are records which say nothing here any more, and why."""
    records: dict[int, str] = {}
    for start in range(0, len(ids), _AT_ONCE):
        names = {f"i{at}": each for at, each in enumerate(ids[start : start + _AT_ONCE])}
        listed = ", ".join(f":{name}" for name in names)
        query = f"SELECT id, body, checksum FROM covm_inbox WHERE line_id = :none AND id IN ({listed})"  # noqa: S608
        for at, body, checksum in tx.execute(query, {**names, "none": tables.NO_LINE}):
            if (message := undamaged(bytes(body), checksum)) is not None:
                records[at] = record_in(message)
    gone = publications.gone(tx, list(records.values()))
    return {at: gone[record] for at, record in records.items() if record in gone}


class Shown(NamedTuple):
    """One message, for people."""

    entry: InboxEntry
    body: MessageBody | None
    """None where the disk damaged it."""
    said: Said | None
    """What it says as a record, if it came as one."""


def find_entry(tx: Transaction, publications: Publications | None, mid: bytes) -> Shown | None:
    """An entry by its message's id."""
    row = tx.execute(f"{_SHOWN} WHERE i.mid = :mid ORDER BY i.id DESC LIMIT 1", {"mid": mid}).first()
    if row is None:
        return None
    query = "SELECT body, checksum, line_id FROM covm_inbox WHERE id = :id"
    data, checksum, line_id = tx.execute(query, {"id": row[0]}).one()
    body, said = undamaged(bytes(data), checksum), None
    if body is not None and line_id == tables.NO_LINE and publications is not None:
        said = publications.said(tx, body.type, record_in(body))
    return Shown(_entry(row, said.gone if said is not None else ""), body, said)


def ids_from(tx: Transaction, prefix: str, limit: int) -> list[str]:
    """Ids of messages that begin with these hexadecimal digits, few or many."""
    first = bytes.fromhex(prefix.ljust(2 * MID_SIZE, "0"))
    last = bytes.fromhex(prefix.ljust(2 * MID_SIZE, "f"))
    rows = tx.execute(
        "SELECT DISTINCT mid FROM covm_inbox WHERE mid >= :first AND mid <= :last ORDER BY mid LIMIT :limit",
        {"first": first, "last": last, "limit": limit},
    ).scalars()
    return [bytes(mid).hex() for mid in rows]


def retry_quarantined(tx: Transaction, inbox_id: int, new_id: int) -> tuple[Lane, int] | None:
    """Puts a message from quarantine at the end of its lane, under a new number; returns its lane and size."""
    row = tx.execute(
        "UPDATE covm_inbox SET id = :new, state = :pending WHERE id = :id AND state = :quarantine "
        "RETURNING author_id, mid, type, size",
        {"new": new_id, "pending": tables.PENDING, "id": inbox_id, "quarantine": tables.QUARANTINE},
    ).first()
    if row is None:
        return None
    author_id, mid, kind, size = row
    tx.execute(
        "UPDATE covm_seen SET inbox_id = :id WHERE author_id = :author AND mid = :mid",
        {"id": new_id, "author": author_id, "mid": mid},
    )
    peer = tx.execute("SELECT peer FROM covm_peers WHERE id = :id", {"id": author_id}).scalar_one()
    return (peer, kind), size


def discard_quarantined(tx: Transaction, inbox_id: int, forget_at_ms: int) -> bool:
    """Drops a message from quarantine for good. Unless a handler was through with it, its id may come again."""
    row = tx.execute(
        "DELETE FROM covm_inbox WHERE id = :id AND state = :quarantine RETURNING author_id, mid, done",
        {"id": inbox_id, "quarantine": tables.QUARANTINE},
    ).first()
    if row is None:
        return False
    author_id, mid, done = row
    fields = {"author": author_id, "mid": mid}
    if done == "[]":
        tx.execute("DELETE FROM covm_seen WHERE author_id = :author AND mid = :mid", fields)
    else:
        statement = "UPDATE covm_seen SET forget_at = :forget WHERE author_id = :author AND mid = :mid"
        tx.execute(statement, {**fields, "forget": forget_at_ms})
    return True


def _entry(row: Any, gone: str = "") -> InboxEntry:
    at, peer, mid, kind, size, received_at, expires_at, state, attempts, done, reason = row
    through = tuple(json.loads(done))
    mid_hex = bytes(mid).hex()
    reason = "; ".join(filter(None, (reason, gone)))
    return InboxEntry(mid_hex, peer, kind, STATES[state], size, received_at, expires_at, attempts, through, reason, at)
