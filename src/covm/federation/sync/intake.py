"""A batch of records, judged: what is to be written for it. Rules: no I/O.

What is known of the records that the batch builds on, and of those with the same keys, is looked up before
(`rows.look_up`); the plan is written in one transaction (`plan_rows.write`), and only then taken over (`Logs.commit`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from covm import _native
from covm.federation.identity.authors import Beginning
from covm.federation.identity.branches import Spot
from covm.federation.identity.verdicts import Status
from covm.federation.sync.heads import Node, newly_superseded
from covm.federation.sync.held import Held, builds_on
from covm.federation.sync.judging import (
    Authority,
    Facts,
    Known,
    counts_from,
    eraser,
    is_one_too_many,
    is_open,
    judge,
    waits_for,
)
from covm.federation.sync.logs import Ended, Log, Logs, Reach
from covm.federation.sync.plan import Arrived, Plan, Row
from covm.federation.sync.quotas import BEHIND, Batch
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import RecordHeader, SignedRecord, log_id
from covm.federation.wire.sync_frames import MAX_TIPS


class Intake:
    """Plans one batch."""

    def __init__(
        self,
        logs: Logs,
        held: Held,
        known: Iterable[Known],
        heads: Mapping[tuple[str, str], int],
        reach: Reach,
        authority: Authority,
        quota: Batch,
        now_ms: int,
        waiting: Iterable[Arrived] = (),
    ) -> None:
        """`known` is what was looked up, `heads` how many its keys have; `waiting` are held records among these."""
        self.plan = Plan(declined=quota.declined, unfit=quota.unfit)
        self.quota = quota
        self._logs = logs
        self._held = held
        self._waiting = {each.record.id: each for each in waiting}
        self._awaited = 0
        """Parents of what is planned, at most as many as are awaited then."""
        self._reach = reach
        self._authority = authority
        self._now_ms = now_ms
        self._known: dict[_native.Link, Known] = {}
        self._own: dict[tuple[_native.Link, str], list[_native.Link]] = {}
        """By log and key."""
        self._of_key: dict[tuple[str, str], list[_native.Link]] = {}
        """By type and key."""
        self._erases: dict[_native.Link, list[_native.Link]] = {}
        """By what they erase."""
        self._awaiting: dict[_native.Link, dict[_native.Link, None]] = {}
        self._begun: dict[tuple[_native.Link, int], Beginning] = {}
        self._heads = heads
        """Of keys, before this."""
        self._known_heads: Counter[tuple[str, str]] = Counter()
        """Those of them that are known."""
        for each in known:
            self._add(each)
            self._known_heads[each.type, each.key] += each.counts and not each.superseded

    def take(self, arrived: Iterable[Arrived]) -> Plan:
        """Gives each its place and judges it, and what has waited for it."""
        pending, unplaced = deque(arrived), dict[_native.Link, list[Arrived]]()
        while pending:
            each = pending.popleft()
            if each.record.id in self._known:
                continue
            header = each.record.body
            log = self._log_of(header)
            found = self._before(header, log)
            if found is None and self.quota.is_behind_declined(header):
                self.plan.refused.append((each, BEHIND))
            elif found is None:
                unplaced.setdefault(header.prev, []).append(each)  # type: ignore[arg-type]
            elif (placed := self._place(each, log, found)) is not None:
                self._judge(placed)
                pending += unplaced.pop(each.record.id, ()) if unplaced else ()
        self.plan.unplaced += [each for waiting_for in unplaced.values() for each in waiting_for]
        return self.plan

    def rejudge(self, records: Iterable[Arrived]) -> Plan:
        """Judges records of one log anew, in their order, which are known and have been judged on another basis."""
        for each in records:
            known = self._known[each.record.id]
            log = self._draft(self._log_of(each.record.body))
            self._reach.note(known.id, known.log, known.spot)
            row = Row(each, log, known, Ended(None, 0), is_new=False)
            seq = self._verdict(row)
            changed = known.judged(each.record.body.op, row.verdict, seq)
            if changed == known:
                continue
            self.plan.rows[known.id] = row
            self.plan.void[known.type] += changed.is_void - known.is_void
            self._change(changed)
            if log.branches[known.spot.branch].tip == known.id:
                log.ends[known.spot.branch] = Ended(known.hlc, seq)
            if not row.is_held:
                self.plan.judged.append(known.id)
            if changed.counts != known.counts:
                self.plan.recount.add((known.type, known.key))
            if known.counts and row.verdict.status is Status.VOID:
                self.plan.voided.append(known.id)
        self._tell_erased()
        return self.plan

    def again(self, records: Iterable[_native.Link]) -> Plan:
        """Judges held records once more: what was not known may be known now."""
        for each in records:
            if each in self._waiting and not self._known[each].is_judged:
                self._judge(self._row_of(each))
        return self.plan

    def log(self, type_name: str, author: str, incarnation: Incarnation) -> Log:
        """A log as this plan leaves it; an empty one where there is none."""
        link = log_id(type_name, author, incarnation)
        return self._there(link) or Log(type_name, author, incarnation)

    def _there(self, log: _native.Link) -> Log | None:
        return self.plan.logs.get(log) or self._logs.get(log)

    def spot_of(self, record: _native.Link) -> Spot:
        """Where a known record stands."""
        return self._known[record].spot

    def known_of(self, type_name: str, key: str) -> list[Known]:
        """What is known of a key: all that was looked up but for erases."""
        found = (self._known[each] for each in self._of_key.get((type_name, key), ()))
        return [each for each in found if each.target is None]

    def author_of(self, known: Known) -> str:
        """Whose log a record stands in."""
        return log.author if (log := self._there(known.log)) is not None else ""

    def told(self) -> Plan:
        """The plan, with what follows from all of it: once it is complete."""
        for record in self.plan.judged:
            known = self._known[record]
            key = known.type, known.key
            if key not in self.plan.conflicts:
                before = self._heads.get(key, 0)
                now = sum(each.counts and not each.superseded for each in self.known_of(*key))
                heads = before - self._known_heads[key] + now
                if (heads > 1) != (before > 1):
                    self.plan.conflicts[key] = heads > 1
        self._tell_erased()
        return self.plan

    def _tell_erased(self) -> None:
        """What is erased of what was judged, or named by an erase that was: the same whichever came first."""
        approved = self._authority.erasures()
        if not self._erases and not approved:
            return
        named = (row.known.target or row.known.id for row in list(self.plan.rows.values()))
        looked_at = dict.fromkeys([*self.plan.rows, *named])
        self.plan.erased.update(self.erasers(each for each in looked_at if each in self._erases or each in approved))

    def erasers(self, records: Iterable[_native.Link]) -> dict[_native.Link, _native.Link | None]:
        """What took away what each of these says that are known: the first erase by its owner, else an erasure."""
        return {each: self._eraser(known) for each in records if (known := self._known.get(each)) is not None}

    def _eraser(self, known: Known) -> _native.Link | None:
        erases = (self._known[each] for each in self._erases.get(known.id, ()))
        return eraser(known, erases, self._authority.erasures().get(known.id, ()), self.owner_of)

    def owner_of_id(self, record: _native.Link) -> str | None:
        """Who may erase a record; None while that is not known, or the record is not."""
        known = self._known.get(record)
        return None if known is None else self.owner_of(known)

    def owner_of(self, known: Known) -> str | None:
        """Who may erase a record; None while that is not known."""
        log = self._there(known.log)
        return None if log is None else self._authority.owner(log.first(known.spot.branch))

    # --- a place

    def _place(self, arrived: Arrived, log: Log, found: tuple[Spot | None, Ended] | str) -> Row | None:
        if isinstance(found, str):
            self.plan.refused.append((arrived, found))
            return None
        record, header, (spot, before) = arrived.record, arrived.record.body, found
        if not self._has_room(header, before):
            self.plan.postponed.add(log.link)
            return None
        is_fork = len(log.branches) > 0 and (spot is None or log.branches[spot.branch].tip_seq != spot.seq)
        if is_fork and len(log.branches) >= MAX_TIPS:
            self.plan.refused.append((arrived, "its log was forked too often to be followed"))
            return None
        why, body = self.quota.admits(record, arrived.body, begins=not len(log.branches))
        if why:
            self.plan.refused.append((arrived, why))
            return None
        arrived = arrived if body is arrived.body else Arrived(record, body)
        if is_fork:
            self.plan.forks.append(record)
        log = self._draft(log)
        place = log.take(record, spot)
        known = Known(
            record.id,
            log.link,
            place,
            header.type,
            header.key,
            header.hlc,
            tuple([each.id for each in header.parents]),
            superseded=self._is_reached(header, record.id),
            is_aside=header.op == "erase" or self._is_one_too_many(header, log, place),
            target=header.target,
        )
        row = self.plan.rows[record.id] = Row(arrived, log, known, before, is_new=True)
        self._add(known)
        self._awaited += len(known.parents)
        self._close(known)
        self._reach.note(record.id, log.link, place)
        if known.superseded:
            self._supersede(known.parents, known)
        return row

    def _is_one_too_many(self, header: RecordHeader, log: Log, place: Spot) -> bool:
        own = self._own.get((log.link, header.key), ())
        return bool(own) and is_one_too_many(header, place, log.branches, (self._known[each] for each in own))

    def _has_room(self, header: RecordHeader, before: Ended) -> bool:
        """Whether a record can be taken now; if not, whoever has it offers it again.

        What need not wait is always taken, and of what is missing something never has to: so those that wait get on.
        """
        if self._held.has_room(len(self.plan.rows), self._awaited + len(header.parents)):
            return True
        planned = [row.awaited for row in self.plan.rows.values() if row.is_new and row.is_held]
        missing = sum(place.id not in self._known for place in header.parents)
        would_wait = (
            before.identity_seq is None
            or counts_from(header, self._now_ms) is not None
            or missing > 0
            or not self._authority.knows(header.auth)
        )
        return not would_wait or self._held.has_room(len(planned), sum(map(len, planned)) + missing)

    def _before(self, header: RecordHeader, log: Log) -> tuple[Spot | None, Ended] | str | None:
        """Where the record before it stands, and its end; None when it is not here, a text when it cannot be that."""
        if header.prev is None:
            return None, Ended(None, 0)
        known = self._known.get(header.prev)
        if known is not None:
            if known.log != log.link or known.spot.seq + 1 != header.seq:
                return "the record that it names before it stands elsewhere"
            return known.spot, Ended(known.hlc, known.identity_seq)
        if (ended := log.ended_with(header.prev)) is not None and ended[0].seq + 1 != header.seq:
            return "the record that it names before it has another number"
        return ended

    # --- a judgement

    def _judge(self, row: Row) -> None:
        """Judges a record, and whatever waits for it.

        Others wait for it to be here, and to name what is known: what is the same as before is news for none of them.
        """
        pending, is_news = deque([row]), row.is_new
        while pending:
            each = pending.popleft()
            was = self._known[each.known.id]
            record, seq = each.arrived.record, self._verdict(each)
            known = was.judged(record.body.op, each.verdict, seq)
            self._change(known)
            log = each.log = self._draft(each.log)
            if log.branches[known.spot.branch].tip == known.id:
                log.ends[known.spot.branch] = Ended(known.hlc, seq)
            if known.is_judged:
                self.plan.judged.append(known.id)
                self.plan.void[known.type] += known.is_void - was.is_void
            else:
                self._await(record)
            if known.counts and known.parents:
                self._supersede(known.parents, known)
            if is_news or (was.is_judged, was.identity_seq) != (known.is_judged, known.identity_seq):
                pending += [self._row_of(one) for one in self._awaited_by(known.id) if not self._known[one].is_judged]
            is_news = False

    def _verdict(self, row: Row) -> int | None:
        """Judges a record, and notes what it waits for; the number of an identity entry up to it."""
        facts, record = self._facts(row), row.arrived.record
        row.verdict, seq = judge(record, facts, self._authority, self._reach, self._now_ms)
        if row.is_held:
            row.awaited, row.from_ms = waits_for(record.body, facts), counts_from(record.body, self._now_ms)
        return seq

    def _facts(self, row: Row) -> Facts:
        header, known, before = row.arrived.record.body, row.known, row.before
        if header.prev is not None and (there := self._known.get(header.prev)) is not None:
            before = Ended(there.hlc, there.identity_seq)
        begun, branches = self._beginning(known, row.log), row.log.branches
        parents = {each: there for each in known.parents if (there := self._known.get(each)) is not None}
        return Facts(known.spot, branches, before.hlc, before.identity_seq, begun, parents, known.is_aside)

    def _beginning(self, known: Known, log: Log) -> Beginning:
        """What a record's log is bound to. Every record asks, and there are few logs."""
        key = known.log, log.branches.root_of(known.spot.branch)
        if (begun := self._begun.get(key)) is None:
            begun = self._begun[key] = self._authority.beginning(log.first(known.spot.branch))
        return begun

    def _close(self, known: Known) -> None:
        """What a record of its log names as parents is closed by it, if it is open there.

        So of each branch the first is noted alone, and a log has few: whatever it names again and again, no row grows.
        """
        branches = self.plan.logs[known.log].branches
        for parent in () if known.is_aside else known.parents:
            there = self._known.get(parent)
            if there is not None and there.log == known.log and is_open(there, known.spot, branches):
                self.plan.closed[parent] = (*there.closers, known.spot)
                self._change(there._replace(closers=self.plan.closed[parent]))

    def _supersede(self, parents: tuple[_native.Link, ...], by: Known) -> None:
        """What lies behind a record that counts, or that one that counts has reached."""

        def get(record: _native.Link) -> Node | None:
            if (known := self._known.get(record)) is None or (known.type, known.key) != (by.type, by.key):
                return None
            return Node(known.id, known.parents, known.counts, known.superseded)

        for each in newly_superseded(parents, get):
            self._change(self._known[each]._replace(superseded=True))
            self.plan.superseded.add(each)

    # --- what is known

    def _add(self, known: Known) -> None:
        self._known[known.id] = known
        self._own.setdefault((known.log, known.key), []).append(known.id)
        self._of_key.setdefault((known.type, known.key), []).append(known.id)
        if known.target is not None:
            self._erases.setdefault(known.target, []).append(known.id)

    def _change(self, known: Known) -> None:
        self._known[known.id] = known
        if (row := self.plan.rows.get(known.id)) is not None:
            row.known = known

    def _await(self, record: SignedRecord) -> None:
        if record.id in self._held:
            return
        for awaited in builds_on(record.body):
            self._awaiting.setdefault(awaited, {})[record.id] = None

    def _is_reached(self, header: RecordHeader, record: _native.Link) -> bool:
        """Whether what counts has reached a record before it came: through a held one that is based on it."""
        if not self._awaiting and not len(self._held):
            return False
        key, based_on_it = (header.type, header.key), (self._known[each] for each in self._awaited_by(record))
        return self._held.is_reached(record, key) or any(
            each.superseded and record in each.parents and (each.type, each.key) == key for each in based_on_it
        )

    def _awaited_by(self, record: _native.Link) -> Sequence[_native.Link]:
        """Held records that build on this one, of those that were looked up."""
        if not self._awaiting and not len(self._held):
            return ()
        return [*self._awaiting.get(record, ()), *filter(self._waiting.__contains__, self._held.awaited_by(record))]

    def _row_of(self, record: _native.Link) -> Row:
        """The row of a record that is held: planned already, or written before."""
        if (row := self.plan.rows.get(record)) is None:
            arrived, known = self._waiting[record], self._known[record]
            log = self._draft(self._log_of(arrived.record.body))
            row = self.plan.rows[record] = Row(arrived, log, known, Ended(None, 0), is_new=False)
            self._reach.note(record, known.log, known.spot)
        return row

    def _log_of(self, header: RecordHeader) -> Log:
        return self.log(header.type, header.author, header.incarnation)

    def _draft(self, log: Log) -> Log:
        """The log as this plan may change it."""
        link = log.link
        if (draft := self.plan.logs.get(link)) is None:
            draft = self.plan.logs[link] = log.copy()
            self._reach.branches[link] = draft.branches
        return draft
