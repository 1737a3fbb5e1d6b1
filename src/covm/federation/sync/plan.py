"""What is to be written for a batch of records. Values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from covm import _native
from covm.federation.identity.branches import Spot
from covm.federation.identity.verdicts import Status, Verdict, waiting
from covm.federation.sync.judging import Known
from covm.federation.sync.logs import Ended, Log
from covm.federation.sync.quotas import Full, Holder
from covm.federation.wire.record import SignedRecord

if TYPE_CHECKING:
    from covm.federation.store.interface import Job

_UNJUDGED: Final = waiting("it is not judged yet")


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
    awaited: tuple[_native.Link, ...] = ()
    """As `Waiting.awaited`, where it waits."""
    from_ms: int | None = None
    """As `Waiting.from_ms`, where it waits."""

    @property
    def is_held(self) -> bool:
        """Whether it waits to be judged."""
        return self.verdict.status is Status.WAITING

    @property
    def lacks_body(self) -> bool:
        """Whether it came without the body that it has, and was not replaced."""
        has_body = self.arrived.record.body.body is not None
        return self.is_new and has_body and self.arrived.body is None and not self.known.superseded


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
    voided: list[_native.Link] = field(default_factory=list)
    """Records that had counted and are void now."""
    void: Counter[str] = field(default_factory=Counter)
    """By how many the void records of a type are more by now, or fewer."""
    recount: set[tuple[str, str]] = field(default_factory=set)
    """Types and keys whose heads are to be found anew from all their records."""
    erased: dict[_native.Link, _native.Link | None] = field(default_factory=dict)
    """Records of which it was looked at whether they are erased, and the erases that did it."""
    also: list[Job[object]] = field(default_factory=list)
    """What is written with it, in the same commit."""
    forks: list[SignedRecord] = field(default_factory=list)
    """Records at whose place in their log another one stood already."""
    unplaced: list[Arrived] = field(default_factory=list)
    """The record before them is not here."""
    refused: list[tuple[Arrived, str]] = field(default_factory=list)
    """They have no place, and never will; or none here."""
    declined: dict[_native.Link, Full | None] = field(default_factory=dict)
    """Logs that are not taken any further, and the quotas that keep them out."""
    unfit: dict[Holder, Full] = field(default_factory=dict)
    """Quotas in which values have no room: their records are written without."""
    postponed: set[_native.Link] = field(default_factory=set)
    """Logs of which records are to be offered again: they would wait to be judged, and no more of that is held."""
