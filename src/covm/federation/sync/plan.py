"""What is to be written for a batch of records. Values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from covm import _native
from covm.federation.identity.branches import Spot
from covm.federation.identity.verdicts import Status, Verdict, waiting
from covm.federation.sync.judging import Known
from covm.federation.sync.logs import Ended, Log
from covm.federation.wire.record import SignedRecord

_UNJUDGED: Final = waiting("it is not judged yet")

Room = Mapping[_native.Link, Sequence["Arrived"]]
"""Records without a place, by the record that each of them follows."""


class Arrived(NamedTuple):
    """A record whose signature and form are right, and its body where there is one here."""

    record: SignedRecord
    body: bytes | None


@dataclass(slots=True)
class Row:
    """A record as it is to be written."""

    arrived: Arrived
    log: Log
    known: Known
    before: Ended
    """Of the record before it."""
    is_new: bool
    """Whether it is written for the first time."""
    verdict: Verdict = _UNJUDGED

    @property
    def is_held(self) -> bool:
        """Whether it waits to be judged."""
        return self.verdict.status is Status.WAITING


@dataclass(slots=True)
class Plan:
    """What there is to write."""

    logs: dict[_native.Link, Log] = field(default_factory=dict)
    rebased: set[_native.Link] = field(default_factory=set)
    """Logs that have another basis now."""
    rows: dict[_native.Link, Row] = field(default_factory=dict)
    """In the order of their arrival."""
    judged: list[_native.Link] = field(default_factory=list)
    """Those that are valid or void now, in the order in which they were found to be."""
    superseded: set[_native.Link] = field(default_factory=set)
    closed: dict[_native.Link, tuple[Spot, ...]] = field(default_factory=dict)
    """Closers of records, all of them."""
    conflicts: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Types and keys of which it changed whether they have several heads."""
    recount: set[tuple[str, str]] = field(default_factory=set)
    """Types and keys whose heads are to be found anew from all their records."""
    forks: list[tuple[_native.Link, int]] = field(default_factory=list)
    """Logs, and the numbers at which they turned out to be forked."""
    unplaced: list[Arrived] = field(default_factory=list)
    """The record before them is not here."""
    refused: list[tuple[Arrived, str]] = field(default_factory=list)
    """They have no place, and never will; or none here."""
    postponed: set[_native.Link] = field(default_factory=set)
    """Logs of which records are to be offered again: they would wait to be judged, and no more of that is held."""

    def lacks_bodies(self) -> bool:
        """Whether something has been judged that has a body, and it is not at hand: it may be here all the same."""
        rows = (self.rows[each] for each in self.judged)
        return any(row.arrived.body is None and row.arrived.record.body.op == "put" for row in rows)
