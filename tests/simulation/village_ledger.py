"""What was written by members, held against what counts: by who may write what, and up to which cuts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.simulation.shared_ledger import NOTE, SharedLedger, Stored, stored, stored_notes
from tests.simulation.village import BOOKS, FOUNDERS, STEADY, Village

from covm import _native
from covm.federation.identity.credentials import Admission, Removal
from covm.federation.sync import tables
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import Place, SignedRecord, open_records
from covm.testing import Machine

SHORT = 12


class VillageLedger(SharedLedger):
    """As a `SharedLedger`, of members that come and go, and of a thief that writes in their names."""

    def __init__(self) -> None:
        super().__init__()
        self.village: Village
        self.suspects: set[str] = set()
        """Whose removal was ever proposed."""
        self.forged: set[bytes] = set()
        """What the thief wrote."""
        self._insiders: Sequence[Machine] = ()

    # --- at every moment

    def _look_at(self, machine: Machine, record: Stored) -> None:
        author = self.village.name_of[record.author]
        if record.state == tables.VOID and author not in self.suspects | self.village.guests:
            self.complain(None, f"a record of an honest member is void on {machine.name}: {record.reason}")
        if record.state == tables.VALID and author in self.village.guests:
            self.complain(None, f"what a guest wrote counts on {machine.name}")
        if record.type == BOOKS and machine.name not in FOUNDERS:
            self.complain(None, f"{machine.name} holds what it may not read")

    def _may_fork(self, machine: str) -> bool:
        return machine in self.rolled_back or machine in self.suspects | self.village.guests

    def named(self, machine: str, types: Iterable[str]) -> None:
        if BOOKS in types and machine not in FOUNDERS:
            self.complain(None, f"{machine} is told of what it may not read")

    # --- at the end

    def _due(self, machine: Machine) -> Iterable[bytes]:
        everything = {link: each for one in self.machines for link, each in stored(one.disk).items()}
        insiders = {each.name for each in self._insiders}
        for link, author in self.written.items():
            if author in insiders and (everything[link].type == NOTE or machine.name in STEADY):
                yield link

    def may_wait(self, record: Stored, here: Mapping[bytes, Stored]) -> bool:
        """What it is based on went with who was removed."""
        return any(parent not in here or here[parent].state == tables.HELD for parent in record.parents)

    def compare(self, machines: Sequence[Machine]) -> None:
        self._insiders = machines
        super().compare(machines)
        first, *others = machines
        states = {link: each.state for link, each in stored_notes(first).items()}
        for machine in others:
            if {link: each.state for link, each in stored_notes(machine).items()} != states:
                self.complain(None, f"{first.name} and {machine.name} do not agree on what counts")
        for machine in machines:
            if machine.name in STEADY:
                self._judge(machine)

    def _judge(self, machine: Machine) -> None:
        """Every record counts that lies within all cuts, and none else."""
        rows = stored(machine.disk)
        records = _opened(machine)
        cuts = _Cuts(machine, records)
        for link, record in records.items():
            author = self.village.name_of[record.author]
            if rows[link.bytes].state == tables.HELD or author in self.village.guests:
                continue
            counts, within = (
                rows[link.bytes].state == tables.VALID,
                cuts.hold(record, self.village.coops[author].member),
            )
            what = f"{record.body.type} {str(link)[-SHORT:]} by {author}"
            if counts and not within:
                self.complain(None, f"{what} counts on {machine.name}, and is beyond the cut")
            if within and not counts:
                self.complain(None, f"{what} is void on {machine.name}, and within the cuts: {rows[link.bytes].reason}")
        if not self.rolled_back and (lost := cuts.not_here()):
            self.complain(None, f"{machine.name} lacks the ends of {lost} logs that cuts were to keep")


def _opened(machine: Machine) -> dict[_native.Link, SignedRecord]:
    envelopes = [envelope for (envelope,) in machine.disk.query("SELECT envelope FROM covm_records")]
    return {each.id: each for each in open_records(envelopes) if not isinstance(each, Malformed)}


class _Cuts:
    """The removals that stand, as one machine knows them, walked along the records one by one."""

    def __init__(self, machine: Machine, records: Mapping[_native.Link, SignedRecord]) -> None:
        members: Any = machine.service._node.members
        self._records = records
        self._ledger = members.ledger
        self._credentials = members.ledger.credentials
        self._removals = {
            link: each.body
            for link, each in self._credentials.items()
            if isinstance(each.body, Removal) and members.standing.verdict(link).holds
        }
        self._behind: dict[_native.Link, set[_native.Link]] = {}

    def hold(self, record: SignedRecord, member: _native.Link) -> bool:
        """Whether a record is within all cuts that bind it."""
        under = self._credentials.get(record.body.auth.credential)
        after = under.body.after if under is not None and isinstance(under.body, Admission) else ()
        binding = [each for link, each in self._removals.items() if each.member == member and link not in after]
        return all(
            any(place.log == record.body.log and record.id in self._chain(place) for place in removal.cut)
            for removal in binding
        )

    def not_here(self) -> int:
        """Ends of logs of shared notes that are not held."""
        ends = {place.id for removal in self._removals.values() for place in removal.cut}
        approvals = {each.id for each in self._approvals()}
        return len(ends - self._records.keys() - approvals)

    def _approvals(self) -> Iterable[Any]:
        return self._ledger.approvals

    def _chain(self, place: Place) -> set[_native.Link]:
        if place.id not in self._behind:
            behind = self._behind[place.id] = set()
            link: _native.Link | None = place.id
            while link is not None and (record := self._records.get(link)) is not None:
                behind.add(link)
                link = record.body.prev
        return self._behind[place.id]
