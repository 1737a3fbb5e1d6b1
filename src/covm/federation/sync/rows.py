"""The jobs that read records; `plan_rows` has the one that writes them. Ids are binary CIDs in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from covm import _native
from covm.federation.identity.branches import Branch, Branches, Spot
from covm.federation.sync import tables
from covm.federation.sync.held import Waiting
from covm.federation.sync.judging import Known
from covm.federation.sync.logs import Ended, Log
from covm.federation.sync.plan import Arrived
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import Auth, Hlc, open_records
from covm.federation.wire.sync_frames import MAX_CARRIED_BODY

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

AT_ONCE: Final = 250
"""Values of one IN list."""

_KNOWN: Final = (
    "SELECT r.id, l.log, r.branch, r.seq, t.name, r.key, r.time_ms, r.counter, r.parents, r.state, r.op, r.superseded, "
    "r.identity_seq, r.closers, r.target FROM covm_records r JOIN covm_record_logs l ON l.id = r.log_id "
    "JOIN covm_record_types t ON t.id = r.type_id "
)

_VOID: Final = (
    "SELECT t.name, count(*) FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id WHERE r.state = 2 "
    "GROUP BY t.name"
)

_COUNTED: Final = (
    "SELECT r.key, count(*) FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id {} "
    "r.state = 1 AND r.op < 2 AND r.superseded = 0 GROUP BY r.key"
)

_CLOSED: Final = "r.closers NOT IN ('', '-')"

_STANDS: Final = (
    "(r.op <> 2 AND (r.state = 1 AND r.superseded = 0 OR r.closers = '' OR (r.closers <> '-' AND EXISTS "
    "(SELECT 1 FROM covm_record_branches b WHERE b.log_id = r.log_id AND b.branch = 1))))"
)
"""What is a head, or open: in a log that was forked also what is closed, maybe on another branch alone."""

ASIDE: Final = "-"
"""The closers of what never was open."""

_CID_SIZE: Final = len(_native.cid(b"").bytes)


class Loaded(NamedTuple):
    """What a node knows again at its start."""

    logs: list[Log]
    held: list[tuple[_native.Link, Waiting]]
    judged: int
    """The number of the last judgement."""
    void: dict[str, int]
    """By type, how many records are void."""


def load(tx: Transaction) -> Loaded:
    """Everything that is kept in memory: all but the records."""
    return Loaded(load_logs(tx), load_held(tx), tables.last_judgement(tx), dict(tx.execute(_VOID).all()))


def load_logs(tx: Transaction) -> list[Log]:
    """Every log: its branches, and what the next record has to follow."""
    logs: dict[int, Log] = {}
    rows = tx.execute(
        "SELECT l.id, t.name, l.author, l.number, l.nonce, l.basis FROM covm_record_logs l "
        "JOIN covm_record_types t ON t.id = l.type_id"
    )
    for number, name, author, incarnation, nonce, basis in rows:
        logs[number] = Log(name, author, Incarnation(incarnation, bytes(nonce)), number, basis=bytes(basis))
    for row in tx.execute(
        "SELECT log_id, branch, parent, begins, tip_seq, tip, tip_time_ms, tip_counter, tip_identity_seq, credential, "
        "identity FROM covm_record_branches ORDER BY log_id, branch"
    ):
        log = logs[row[0]]
        log.branches = Branches([*all_of(log.branches), Branch(row[2], row[3], row[4], _native.Link(bytes(row[5])))])
        log.ends.append(Ended(Hlc(row[6], row[7]), row[8]))
        if row[9] is not None:
            log.firsts[row[1]] = Auth(_native.Link(bytes(row[9])), _native.Link(bytes(row[10])))
    return list(logs.values())


def load_held(tx: Transaction) -> list[tuple[_native.Link, Waiting]]:
    """The records that wait to be judged. Those that wait for no record are to be looked at again soon."""
    numbers = tx.execute("SELECT number FROM covm_records WHERE state = 0 ORDER BY number").scalars()
    held: dict[_native.Link, Waiting] = {}
    unknown: dict[_native.Link, None] = {}
    """Where what a record, or one before it, was written by is not here."""
    for names, values in in_lists("n", numbers):
        known = list(_known(tx, f"WHERE r.number IN ({names})", values))
        unknown.update((each.id, None) for each in known if each.identity_seq is None)
        missing = lacking(tx, list({parent: None for each in known for parent in each.parents}))
        for each in known:
            awaited = dict.fromkeys(parent for parent in each.parents if parent in missing)
            held[each.id] = Waiting(each.type, each.key, tuple(awaited), len(each.parents), 0, each.superseded)
    listed = list(unknown)
    for start in range(0, len(listed), AT_ONCE):
        for record, _ in headers(tx, listed[start : start + AT_ONCE]):
            if (prev := record.body.prev) in unknown:
                held[record.id].awaited += (prev,)
    return list(held.items())


def headers(tx: Transaction, ids: Sequence[_native.Link]) -> list[Arrived]:
    """Records by their ids, without their bodies; those that are not here are left out."""
    rows: list[tuple[bytes, None]] = []
    for names, values in in_lists("i", [each.bytes for each in ids]):
        rows += tx.execute(f"SELECT envelope, NULL FROM covm_records WHERE id IN ({names})", values).all()  # noqa: S608
    return _arrived(rows)


def superseded(tx: Transaction, ids: Sequence[_native.Link]) -> set[_native.Link]:
    """Those of these records that what counts has reached."""
    found: set[_native.Link] = set()
    for names, values in in_lists("i", [each.bytes for each in ids]):
        query = f"SELECT id FROM covm_records WHERE superseded = 1 AND id IN ({names})"  # noqa: S608 - own names
        found.update(_native.Link(bytes(each)) for each in tx.execute(query, values).scalars())
    return found


def all_of(branches: Branches) -> list[Branch]:
    return [branches[index] for index in range(len(branches))]


class Found(NamedTuple):
    """What was looked up."""

    known: list[Known]
    heads: dict[tuple[str, str], int]
    """How many heads the keys have, whoever wrote them."""


def look_up(
    tx: Transaction,
    ids: Iterable[_native.Link],
    keys: Iterable[tuple[str, str]],
    logs: Iterable[_native.Link] = (),
    targets: Mapping[_native.Link, tuple[str, str] | None] = MappingProxyType({}),
    forks: Mapping[_native.Link, tuple[_native.Link, _native.Link | None]] = MappingProxyType({}),
) -> Found:
    """What is here of these records, and of the keys (with their types) what stands in these logs.

    What stands there is open, or a head. Of other logs a key may have thousands of heads: they are counted alone.
    `forks` are records that may fork one of the logs, each with that and what it follows: where one does, what is
    closed comes too, for behind what it follows it may have been open.

    With the void ones among the records come their parents, as far as they have not been superseded; with those that
    erase others these; and what erases the same, or one of the `targets` (with their types and keys, where they may
    not be here), and is valid: of each branch the first.
    """
    found: dict[_native.Link, Known] = {}
    walked: set[_native.Link] = set()
    by_type: dict[str, list[str]] = {}
    for name, key in keys:
        by_type.setdefault(name, []).append(key)
    heads: dict[tuple[str, str], int] = {}
    own = [each.bytes for each in dict.fromkeys(logs)]
    for name, wanted in by_type.items():
        for names, values in in_lists("k", wanted):
            of_keys = f"WHERE t.name = :type AND r.key IN ({names}) AND "
            fields = {"type": name, **values}
            for links, bound in in_lists("l", own):
                where = f"{of_keys} l.log IN ({links}) AND {_STANDS}"
                found.update((each.id, each) for each in _known(tx, where, {**fields, **bound}))
            heads.update(((name, key), count) for key, count in tx.execute(_COUNTED.format(of_keys), fields))
    wanted_ids = list(dict.fromkeys(ids))
    while wanted_ids:
        fresh = [found[each] for each in wanted_ids if each in found]
        for names, values in in_lists("i", [each.bytes for each in wanted_ids if each not in found]):
            fresh += _known(tx, f"WHERE r.id IN ({names})", values)
        behind = [parent for each in fresh if not each.counts and not each.superseded for parent in each.parents]
        found.update((each.id, each) for each in fresh)
        walked.update(wanted_ids)
        wanted_ids = [each for each in dict.fromkeys(behind) if each not in walked]
    forked = {
        log.bytes: None for each, (log, prev) in forks.items() if each not in found and (prev is None or prev in found)
    }
    for name, wanted in by_type.items() if forked else ():
        for names, values in in_lists("k", wanted):
            for links, bound in in_lists("l", list(forked)):
                where = f"WHERE t.name = :type AND r.key IN ({names}) AND l.log IN ({links}) AND {_CLOSED}"
                found.update((each.id, each) for each in _known(tx, where, {"type": name, **values, **bound}))
    _look_up_erased(tx, found, targets)
    return Found(list(found.values()), heads)


def _look_up_erased(
    tx: Transaction, found: dict[_native.Link, Known], targets: Mapping[_native.Link, tuple[str, str] | None]
) -> None:
    named = {each.target: None for each in found.values() if each.target is not None}
    for names, values in in_lists("t", [each.bytes for each in named if each not in found]):
        for each in _known(tx, f"WHERE r.id IN ({names})", values):
            found[each.id] = each
    of_key = {each: key for each, key in targets.items() if key is not None}
    of_key |= {each: (found[each].type, found[each].key) for each in [*named, *targets] if each in found}
    erased: list[bytes] = []
    for names, values in in_lists("t", [each.bytes for each in of_key]):
        where = f"WHERE e.target IS NOT NULL AND e.target IN ({names}) AND e.state = 1"
        erased += tx.execute(f"SELECT DISTINCT e.target FROM covm_records e {where}", values).scalars()  # noqa: S608
    for number in _first_erases(tx, [_native.Link(bytes(each)) for each in erased], of_key):
        for each in _known(tx, "WHERE r.number = :number", {"number": number}):
            found.setdefault(each.id, each)


def _first_erases(
    tx: Transaction, erased: Sequence[_native.Link], of_key: Mapping[_native.Link, tuple[str, str]]
) -> list[int]:
    """The rows of valid erases under the key of what they erase: of each branch the first.

    Whoever erases one thing a thousand times is not looked at a thousand times. A cut ends the later ones first.
    """
    first: list[int] = []
    keys = sorted({of_key[each][1] for each in erased})
    for names, values in in_lists("t", [each.bytes for each in erased]):
        for key_names, key_values in in_lists("k", keys):
            query = (
                "SELECT min(e.number), e.target, t.name, e.key FROM covm_records e "  # noqa: S608 - own names
                f"JOIN covm_record_types t ON t.id = e.type_id WHERE e.target IS NOT NULL AND e.target IN ({names}) "
                f"AND e.key IN ({key_names}) AND e.state = 1 GROUP BY e.target, e.log_id, e.branch, t.name, e.key"
            )
            rows = tx.execute(query, {**values, **key_values})
            first += [row[0] for row in rows if of_key[_native.Link(bytes(row[1]))] == (row[2], row[3])]
    return first


def find(tx: Transaction, ids: Sequence[_native.Link]) -> list[Arrived]:
    """Records by their ids, with their bodies; those that are not here are left out."""
    rows: list[tuple[bytes, bytes | None]] = []
    for names, values in in_lists("i", [each.bytes for each in ids]):
        rows += tx.execute(f"SELECT envelope, body FROM covm_records WHERE id IN ({names})", values).all()  # noqa: S608
    return _arrived(rows)


def stretch(
    tx: Transaction, log: int, branch: int, above: int, upto: int, limit: int
) -> list[tuple[bytes, bytes | None]]:
    """Envelopes and bodies of one branch of a log, numbered above one and up to another, in order.

    Bodies that do not travel beside their headers are left out.
    """
    rows = tx.execute(
        "SELECT envelope, CASE WHEN length(body) <= :most THEN body END FROM covm_records WHERE log_id = :log AND "
        "branch = :branch AND seq > :above AND seq <= :upto ORDER BY seq LIMIT :limit",
        {"log": log, "branch": branch, "above": above, "upto": upto, "limit": limit, "most": MAX_CARRIED_BODY},
    )
    return [(bytes(envelope), None if body is None else bytes(body)) for envelope, body in rows]


def lacking(tx: Transaction, ids: Sequence[_native.Link]) -> set[_native.Link]:
    """Those of these records that are not here."""
    here: set[bytes] = set()
    for names, values in in_lists("i", [each.bytes for each in ids]):
        query = f"SELECT id FROM covm_records WHERE id IN ({names})"  # noqa: S608 - own names
        here.update(bytes(each) for each in tx.execute(query, values).scalars())
    return {each for each in ids if each.bytes not in here}


def spots(tx: Transaction, log: int, ids: Sequence[_native.Link]) -> list[Spot]:
    """Where those of these records stand that are in a log."""
    found: list[Spot] = []
    for names, values in in_lists("i", [each.bytes for each in ids]):
        query = f"SELECT branch, seq FROM covm_records WHERE log_id = :log AND id IN ({names})"  # noqa: S608
        found += [Spot(row[0], row[1]) for row in tx.execute(query, {"log": log, **values})]
    return found


def page(tx: Transaction, log: int, after: tuple[int, int], limit: int) -> list[Arrived]:
    """Records of a log behind a place `(seq, branch)`, in that order."""
    rows = tx.execute(
        "SELECT envelope, body FROM covm_records WHERE log_id = :log AND "
        "(seq > :seq OR (seq = :seq AND branch > :branch)) ORDER BY seq, branch LIMIT :limit",
        {"log": log, "seq": after[0], "branch": after[1], "limit": limit},
    )
    return _arrived(rows.all())


def ids_at(tx: Transaction, log: int, places: Sequence[tuple[int, int]]) -> list[_native.Link]:
    """The ids of what stands at these `(branch, seq)` of a log; those that are not there are left out."""
    query = "SELECT id FROM covm_records WHERE log_id = :log AND seq = :seq AND branch = :branch"
    found = [tx.execute(query, {"log": log, "branch": branch, "seq": seq}).scalar() for branch, seq in places]
    return [_native.Link(bytes(each)) for each in found if each is not None]


def _known(tx: Transaction, where: str, values: dict[str, Any]) -> Iterator[Known]:
    for row in tx.execute(_KNOWN + where, values):
        yield Known(
            id=_native.Link(bytes(row[0])),
            log=_native.Link(bytes(row[1])),
            spot=Spot(row[2], row[3]),
            type=row[4],
            key=row[5],
            hlc=Hlc(row[6], row[7]),
            parents=parents_in(row[8]),
            is_judged=row[9] != tables.HELD,
            counts=row[9] == tables.VALID and row[10] != tables.ERASE,
            superseded=bool(row[11]),
            identity_seq=row[12],
            closers=() if row[13] == ASIDE else _closers(row[13]),
            is_aside=row[13] == ASIDE,
            target=None if row[14] is None else _native.Link(bytes(row[14])),
            erases=row[9] == tables.VALID and row[10] == tables.ERASE,
        )


def parents_in(data: bytes) -> tuple[_native.Link, ...]:
    joined = bytes(data)
    return tuple(_native.Link(joined[start : start + _CID_SIZE]) for start in range(0, len(joined), _CID_SIZE))


def _arrived(rows: Iterable[tuple[bytes, bytes | None]]) -> list[Arrived]:
    listed = list(rows)
    records = open_records([bytes(envelope) for envelope, _ in listed])
    return [
        Arrived(record, None if body is None else bytes(body))
        for record, (_, body) in zip(records, listed, strict=True)
        if not isinstance(record, Malformed)
    ]


def _closers(text: str) -> tuple[Spot, ...]:
    return tuple(Spot(int(branch), int(seq)) for branch, _, seq in (each.partition(":") for each in text.split()))


def in_lists(name: str, values: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names and values of an IN list, a number of them at a time."""
    for start in range(0, len(values), AT_ONCE):
        listed = {f"{name}{index}": value for index, value in enumerate(values[start : start + AT_ONCE])}
        yield ", ".join(f":{each}" for each in listed), listed
