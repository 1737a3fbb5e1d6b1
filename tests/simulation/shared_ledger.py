"""What was written into shared data and acknowledged, held against the records that are on the disks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from covm import _native
from covm.federation.sync import rows, tables
from covm.federation.sync.heads import Node, heads_of
from covm.federation.sync.logs import Logs
from covm.federation.wire.envelope import parts_of
from covm.federation.wire.sync_frames import MAX_CARRIED_BODY
from covm.testing import Disk, Ledger, Machine

NOTE = "shared.note"

CID_SIZE = 36
"""Bytes of an id: parents stand one behind the other."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it is on one disk."""

    id: bytes
    type: str
    author: str
    key: str
    op: int
    state: int
    reason: str
    is_superseded: bool
    parents: tuple[bytes, ...]
    has_body: bool
    erased_by: bytes | None
    target: bytes | None
    is_late: bool
    """Whether its value is not here, and does not come with it: it is large."""


def stored(disk: Disk) -> dict[bytes, Stored]:
    """All records on a disk."""
    if not disk.has("covm_records"):
        return {}
    query = (
        "SELECT r.id, t.name, l.author, r.key, r.op, r.state, r.reason, r.superseded, r.body IS NOT NULL, r.parents, "
        "r.erased_by, r.target, CASE WHEN r.body IS NULL THEN r.envelope END "
        "FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id JOIN covm_record_logs l ON l.id = r.log_id"
    )
    found: dict[bytes, Stored] = {}
    for row in disk.query(query):
        link, name, author, key, op, state, reason, superseded, body, parents, erased, target, bare = row
        split = tuple(parents[start : start + CID_SIZE] for start in range(0, len(parents), CID_SIZE))
        found[link] = Stored(
            link,
            name,
            author,
            key,
            op,
            state,
            reason,
            bool(superseded),
            split,
            bool(body),
            erased,
            target,
            _is_large(bare),
        )
    return found


def _is_large(envelope: bytes | None) -> bool:
    return envelope is not None and _native.decode(parts_of(envelope).payload)["size"] > MAX_CARRIED_BODY


def is_lost(record: Stored, everywhere: Iterable[Mapping[bytes, Stored]]) -> bool:
    """Whether a value may be lacking for ever: it is large, and nobody fetches it or has it.

    What is void, or has been replaced, is not fetched; what its author alone had is lost with the author's disk.
    """
    if not record.is_late:
        return False
    has_it = any(record.id in records and records[record.id].has_body for records in everywhere)
    return record.is_superseded or record.state == tables.VOID or not has_it


def stored_notes(machine: Machine) -> dict[bytes, Stored]:
    """Those of the type that everybody may read."""
    return {link: each for link, each in stored(machine.disk).items() if each.type == NOTE}


def heads(records: dict[bytes, Stored]) -> dict[str, set[bytes]]:
    """The heads of each key, from all records and none of the flags."""
    by_key: dict[str, list[Node]] = {}
    for each in records.values():
        counts = each.state == tables.VALID and each.op != tables.ERASE
        links = tuple(map(_native.Link, each.parents))
        by_key.setdefault(each.key, []).append(Node(_native.Link(each.id), links, counts, superseded=False))
    return {key: {link.bytes for link in heads_of(nodes)} for key, nodes in by_key.items()}


def marked(records: dict[bytes, Stored]) -> dict[str, set[bytes]]:
    """The heads of each key as the disk's flags have them."""
    found: dict[str, set[bytes]] = {each.key: set() for each in records.values()}
    for each in records.values():
        if each.state == tables.VALID and each.op != tables.ERASE and not each.is_superseded:
            found[each.key].add(each.id)
    return found


class SharedLedger(Ledger):
    """Every acknowledged write, by the record's id: who wrote it."""

    def __init__(self) -> None:
        super().__init__()
        self.machines: tuple[Machine, ...] = ()
        self.written: dict[bytes, str] = {}
        self.rolled_back: dict[str, int] = {}
        self.sent: Counter[str] = Counter()
        """Records in the answers that each machine heard."""

    def named(self, machine: str, types: Iterable[str]) -> None:
        """A machine was told that there is something of these types."""

    def acknowledge(self, machine: str, record: bytes) -> None:
        """Its author was told that it is on disk."""
        self.written[record] = machine

    def roll_back(self, machine: str, to_s: float, now_s: float, *, restored: bool) -> None:
        """What was on this disk alone is lost with it, as nobody else can know of it."""
        self.rolled_back[machine] = self.rolled_back.get(machine, 0) + 1
        there = self.on_any_disk()
        for record in [each for each in self.written if each not in there]:
            del self.written[record]

    def on_any_disk(self) -> set[bytes]:
        """The ids of all records."""
        return {link for machine in self.machines for link in stored(machine.disk)}

    # --- at every moment

    def look(self) -> None:
        """What holds whatever goes wrong: what was acknowledged is on a disk, and no honest record is void."""
        there = self.on_any_disk()
        for record, author in self.written.items():
            if record not in there:
                self.complain(None, f"a write that {author} was told is on disk is on none")
        for machine in self.machines:
            records = stored(machine.disk)
            for each in records.values():
                if each.has_body and each.erased_by is not None:
                    self.complain(None, f"{machine.name} keeps a value that was erased")
                self._look_at(machine, each)
            real, flags = heads(records), marked(records)
            if real != flags:
                key = next(key for key in real if real[key] != flags[key])
                told = f"{len(flags[key])} heads, and its records come to {len(real[key])}"
                self.complain(None, f"{machine.name} has other heads of {key} than its records say: {told}")
            self._only_who_went_back_forks(machine)

    def _look_at(self, machine: Machine, record: Stored) -> None:
        if record.state == tables.VOID:
            self.complain(None, f"a record of an honest node is void on {machine.name}: {record.reason}")

    def _may_fork(self, machine: str) -> bool:
        """Whether somebody has a reason to say two things at one place of this machine's log."""
        return machine in self.rolled_back

    def _only_who_went_back_forks(self, machine: Machine) -> None:
        if not machine.disk.has("covm_record_logs"):
            return
        by_peer = {each.peer_id: each.name for each in self.machines}
        forked = machine.disk.query(
            "SELECT DISTINCT l.author FROM covm_records r JOIN covm_record_logs l ON l.id = r.log_id "
            "GROUP BY r.log_id, r.seq HAVING count(*) > 1"
        )
        for (author,) in forked:
            if not self._may_fork(by_peer[author]):
                self.complain(None, f"{by_peer[author]} forked its log, and never went back in time")

    # --- at the end

    def compare(self, machines: Sequence[Machine]) -> None:
        """What holds once everything has come to rest: the disks of these say the same, and it is everything."""
        self.look()
        first, *others = machines
        records = stored_notes(first)
        everywhere = [stored(machine.disk) for machine in machines]
        for machine, mine in zip(machines, everywhere, strict=True):
            if lost := sum(each not in mine for each in self._due(machine)):
                self.complain(None, f"{machine.name} lacks {lost} acknowledged writes")
            if held := sum(each.state == tables.HELD and not self.may_wait(each, mine) for each in mine.values()):
                self.complain(None, f"{held} records are held on {machine.name} for ever")
            # An erase that counts no more, of somebody who was removed, has taken the value all the same.
            erased = {each.target for each in mine.values() if each.op == tables.ERASE}
            if bare := sum(
                each.op != tables.DELETE
                and not each.has_body
                and each.id not in erased
                and not is_lost(each, everywhere)
                for each in mine.values()
            ):
                self.complain(None, f"{bare} records on {machine.name} have no value")
            real = sorted(key for key, ids in heads(mine).items() if len(ids) > 1)
            noted = [key for (key,) in machine.disk.query("SELECT key FROM covm_conflicts ORDER BY key")]
            if real != noted:
                self.complain(
                    None, f"{machine.name} notes conflicts of {sorted(noted)}, and has them of {sorted(real)}"
                )
        for machine in others:
            if (mine := stored_notes(machine)).keys() != records.keys():
                missing = f"{len(records.keys() - mine.keys())} and {len(mine.keys() - records.keys())}"
                self.complain(None, f"{first.name} and {machine.name} hold other records: {missing} more")
            elif marked(mine) != marked(records):
                self.complain(None, f"{first.name} and {machine.name} have other heads")
            elif any(each.erased_by != records[link].erased_by for link, each in mine.items()):
                self.complain(None, f"{first.name} and {machine.name} have erased other values")

    def may_wait(self, record: Stored, here: Mapping[bytes, Stored]) -> bool:
        """Whether a record may be held for ever."""
        return False

    def _due(self, machine: Machine) -> Iterable[bytes]:
        """What has to be on a machine's disk in the end."""
        return self.written

    def count_traffic(self, machines: Sequence[Machine]) -> None:
        """Where nothing was interrupted, each record came to each machine once, whoever of the others had it."""
        for machine in machines:
            theirs = sum(each.author != machine.peer_id for each in stored(machine.disk).values())
            if (sent := self.sent[machine.name]) > theirs:
                self.complain(None, f"{machine.name} was sent {sent} records, to hold {theirs}")

    async def compare_memory(self, machines: Sequence[Machine]) -> None:
        """What nodes say by themselves is what is on their disks, and all say it."""
        roots, shown = dict[str, bytes](), dict[str, object]()
        for machine in machines:
            keeper = machine.service._node.sync.keeper
            root = roots[machine.name] = keeper.logs.frontier(NOTE).root
            loaded = await keeper.store.read(rows.load)
            if Logs(loaded.logs).frontier(NOTE).root != root:
                self.complain(None, f"{machine.name} believes to hold other records than are on its disk")
            keys = sorted({each.key for each in stored(machine.disk).values() if each.type == NOTE})
            entries = [(key, await machine.service.collection(NOTE).get(key)) for key in keys]
            shown[machine.name] = [
                None if entry is None else (key, entry.value, entry.is_conflict, [head.id for head in entry.heads])
                for key, entry in entries
            ]
        names = [machine.name for machine in machines]
        for name in names[1:]:
            if roots[name] != roots[names[0]]:
                self.complain(None, f"{names[0]} and {name} end with other frontiers")
            if shown[name] != shown[names[0]]:
                self.complain(None, f"{names[0]} and {name} show other values")
