"""The promises of durable delivery, held against what is on the disks.

An application under test writes each transactional effect with `note_effect`; the ledger knows what was sent. Nothing
here asks a node: a node that is wrong would be wrong about itself too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from covm.testing.disk import Disk
from covm.testing.ledger import SETTLED, Call, Entry, Fate, Ledger

if TYPE_CHECKING:
    from covm.testing.machine import Machine

_TABLES = (
    """CREATE TABLE IF NOT EXISTS effects
    (id INTEGER PRIMARY KEY, token TEXT, sender TEXT, type TEXT, number INTEGER, late INTEGER)""",
    "CREATE INDEX IF NOT EXISTS effects_token ON effects (token)",
    "CREATE TABLE IF NOT EXISTS replies (id INTEGER PRIMARY KEY, token TEXT)",
    "CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, token TEXT)",
)


class Executes(Protocol):
    """What writes: a handler's transaction."""

    def execute(self, statement: str, parameters: dict[str, Any]) -> object: ...


def prepare(disk: Disk) -> None:
    """Makes the application's tables on a disk."""
    for table in _TABLES:
        disk.query(table)


def note_effect(tx: Executes, token: str, sender: str, type_name: str, number: int, out_of_order: bool) -> None:
    """The effect of a message, in the transaction of its handler. Nothing keeps it from being there twice."""
    tx.execute(
        "INSERT INTO effects (token, sender, type, number, late) VALUES (:token, :sender, :type, :number, :late)",
        {"token": token, "sender": sender, "type": type_name, "number": number, "late": int(out_of_order)},
    )


def note_reply(tx: Executes, token: str) -> None:
    """The effect of an answer that a handler sent in its transaction."""
    tx.execute("INSERT INTO replies (token) VALUES (:token)", {"token": token})


def note_journal(tx: Executes, token: str) -> None:
    """What the sender wrote in the transaction in which it sent."""
    tx.execute("INSERT INTO journal (token) VALUES (:token)", {"token": token})


class Checkers:
    """Looks at a world's disks and complains to the ledger.

    `transactional` are the types whose handlers write effects, `answered` those of them that are answered in the same
    transaction, `journalled` those that are sent within a transaction of their sender, `bounded` those that are sent
    outside transactions, of which `most_waiting` may wait for one peer.
    """

    def __init__(
        self,
        ledger: Ledger,
        machines: Iterable[Machine],
        *,
        transactional: frozenset[str],
        answered: frozenset[str],
        journalled: frozenset[str],
        bounded: frozenset[str],
        most_waiting: int,
    ) -> None:
        self._ledger = ledger
        self._disks = {machine.name: machine.disk for machine in machines}
        self._peer_ids = {machine.name: machine.peer_id for machine in machines}
        self._transactional = transactional
        self._answered = answered
        self._journalled = journalled
        self._bounded = bounded
        self._most_waiting = most_waiting

    # --- at the moment that something is said ---

    def stored(self, entry: Entry) -> None:
        """The sender was told that the receiver has it on disk: it has."""
        # A sender that went back in time does not know of the skip that it once sent in the message's place.
        if not entry.lost_by_recipient and not entry.is_sent_again and not self._is_on_disk(entry):
            self._ledger.complain(entry, "the sender was told that it is stored, and it is not on the receiver's disk")

    def handled(self, entry: Entry) -> None:
        """The sender was told that its handler is through with it: it is."""
        if not entry.lost_by_recipient and not self._is_done(entry):
            self._ledger.complain(entry, "the sender was told that it is handled, and its effect is not there")

    def called(self, entry: Entry, call: Call) -> None:
        """A plain handler is called: for the first time, or after its own failure or a crash, and it is told."""
        if entry.lost_by_recipient:
            return
        if entry.calls and call.attempt == 1:
            self._ledger.complain(entry, "its handler is called again, and told that it is the first time")

    # --- now and then ---

    def now(self) -> None:
        """What holds at every moment."""
        for name, disk in self._disks.items():
            self._effects_once(name, disk)
            self._lanes_in_order(name, disk)
            self._queues_in_bounds(name, disk)

    def at_the_end(self) -> None:
        """What holds once the faults have ended and everything has come to rest."""
        self.now()
        for entry in self._ledger.entries.values():
            self._came_to_an_end(entry)
            if entry.type in self._journalled:
                self._was_sent_with_its_journal(entry)
            if entry.type in self._answered:
                self._was_answered(entry)

    # --- within ---

    def _effects_once(self, name: str, disk: Disk) -> None:
        for token, count in disk.query("SELECT token, count(*) FROM effects GROUP BY token HAVING count(*) > 1"):
            self._ledger.complain(self._ledger.entries[token], f"its effect happened {count} times on {name}")
        for token, count in disk.query("SELECT token, count(*) FROM replies GROUP BY token HAVING count(*) > 1"):
            entry = self._ledger.entries[token]
            if not entry.lost_by_recipient:
                self._ledger.complain(entry, f"the answer to it had its effect {count} times on {name}")

    def _lanes_in_order(self, name: str, disk: Disk) -> None:
        last: dict[tuple[str, str], int] = {}
        rows = disk.query("SELECT token, sender, type, number FROM effects WHERE late = 0 ORDER BY id")
        for token, sender, type_name, number in rows:
            entry = self._ledger.entries[token]
            if entry.is_retried:
                continue
            if number <= last.get((sender, type_name), 0):
                self._ledger.complain(entry, f"it overtook on {name}: number {last[sender, type_name]} came before it")
            last[sender, type_name] = number

    def _queues_in_bounds(self, name: str, disk: Disk) -> None:
        if not disk.has("covm_outbox"):
            return
        waiting = disk.query(
            "SELECT p.peer, o.type, count(*) FROM covm_outbox o JOIN covm_lines_out l ON l.id = o.line_id "
            "JOIN covm_peers p ON p.id = l.peer_id WHERE o.state = 0 AND o.seq > l.acked_seq GROUP BY p.peer, o.type"
        )
        counts: Counter[str] = Counter()
        for peer, type_name, count in waiting:
            counts[peer] += count if type_name in self._bounded else 0
        for peer, count in counts.items():
            if count > self._most_waiting:
                self._ledger.complain(None, f"{count} messages wait on {name} for {peer}: {self._most_waiting} may")

    def _came_to_an_end(self, entry: Entry) -> None:
        effects = self._effects(entry)
        if entry.lost_by_sender or entry.lost_by_recipient:
            return
        if entry.fate is Fate.TURNED_AWAY and effects:
            self._ledger.complain(entry, "its sender was told that it was not queued, and its effect is there")
        if entry.fate is not Fate.TAKEN:
            return
        if entry.state not in SETTLED:
            self._ledger.complain(entry, f"nobody ever said what became of it: it is {entry.state or 'unknown'} still")
        elif entry.state == "handled":
            self.handled(entry)
        elif effects and not (entry.is_sent_again and entry.state in {"expired", "cancelled"}):
            # A sender that went back in time may have had the receiver's last word on it, and lost that.
            self._ledger.complain(entry, f"its sender was told that it is {entry.state}, and its effect is there")

    def _was_sent_with_its_journal(self, entry: Entry) -> None:
        if entry.lost_by_sender:
            return
        rows = self._count(entry.sender, "journal", entry.token)
        if rows > 1 or (entry.fate is Fate.TAKEN and rows != 1):
            self._ledger.complain(entry, f"its sender wrote it down {rows} times")
        if self._effects(entry) and not rows:
            self._ledger.complain(entry, "it arrived, though the transaction in which it was sent was undone")
        settled_otherwise = entry.state in SETTLED - {"handled"}
        if rows and not (self._effects(entry) or entry.lost_by_recipient or settled_otherwise or entry.fails):
            self._ledger.complain(entry, "its sender wrote down that it sent it, and it never arrived")

    def _was_answered(self, entry: Entry) -> None:
        if entry.lost_by_sender or entry.lost_by_recipient:
            return
        effects, answers = self._effects(entry), self._count(entry.sender, "replies", entry.token)
        if effects != answers:
            self._ledger.complain(entry, f"its effect happened {effects} times, and {answers} answers were sent")

    def _is_on_disk(self, entry: Entry) -> bool:
        disk = self._disks[entry.recipient]
        known = disk.query("SELECT 1 FROM covm_seen WHERE mid = ?", (bytes.fromhex(entry.message_id),))
        return bool(known) or self._is_done(entry)

    def _is_done(self, entry: Entry) -> bool:
        if entry.type in self._transactional:
            return self._effects(entry) == 1
        return any(call.returned for call in entry.calls)

    def _effects(self, entry: Entry) -> int:
        return self._count(entry.recipient, "effects", entry.token)

    def _count(self, machine: str, table: str, token: str) -> int:
        [[count]] = self._disks[machine].query(f"SELECT count(*) FROM {table} WHERE token = ?", (token,))  # noqa: S608
        return int(count)


def tally(entries: Iterable[Entry]) -> Counter[str]:
    """How many messages came to which end; for a person who watches."""
    return Counter(entry.state or entry.fate.name.lower() for entry in entries)
