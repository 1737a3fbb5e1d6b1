"""How much each member has here of each type, and may have. Rules: no I/O.

    whose     a member's, over all its nodes, also those that were removed since; in `open` mode each node's own
    records   all that have their place, void ones and those that wait too: none of them ever goes
    bytes     headers and bodies, as they are stored: a body that is dropped gives its bytes back

Authors that are nodes of no member known here have one quota together, until it is known whose they are: keys cost
nothing, and one for each would be none. Above each quota lies a reserve: for deletes and erases, so that whoever has
used it up can make room, and half of it for headers whose values have none, so that these come through. Such a value
comes once there is room; a header that has none is declined, with all that follows it in its log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from covm import _native
from covm.federation.identity.authors import First
from covm.federation.sync.logs import Log, Logs
from covm.federation.wire.record import RecordHeader, SignedRecord

if TYPE_CHECKING:
    from covm.federation.sync.plan import Arrived

NOBODY: Final = ""
"""Whose the logs are of authors that are nodes of no member known here."""

RESERVE: Final = 10
"""The part of a quota that lies above it: a tenth."""

MAX_CLOSED: Final = 4096
"""Logs that are remembered as not to be asked for: of those beyond, a batch is fetched in vain now and then."""

BEHIND: Final = "what comes before it in its log is not taken here"


class Usage(NamedTuple):
    """Records, and their bytes."""

    records: int = 0
    size_bytes: int = 0

    def plus(self, more: Usage) -> Usage:
        """Both together."""
        return Usage(self.records + more.records, self.size_bytes + more.size_bytes)


_NOTHING: Final = Usage()

Holder = tuple[str, str]
"""Whose quota it is, and of what: a type, and a member's id, in `open` mode a node's, or `NOBODY`."""


class Full(NamedTuple):
    """A quota in which there is no room for a record."""

    type: str
    member: str
    used: int
    limit: int
    unit: Literal["records", "bytes"]

    @property
    def setting(self) -> str:
        """What gives more room."""
        return "record_quota_bytes" if self.unit == "bytes" else "record_quota"

    @property
    def why(self) -> str:
        """As a reason, for people."""
        whose = f"the quota of {self.member}" if self.member else "the quota of those whose member is not known here"
        return f"{whose} in {self.type} is used up: {self.used:,} of {self.limit:,} {self.unit}"


class Quotas:
    """What each log has here, and all logs of a holder together."""

    def __init__(self, most: Usage, payer: Callable[[First], str | None]) -> None:
        """`payer` is `Authority.payer`."""
        self.most = most
        self.reserve = Usage(-(-most.records // RESERVE), -(-most.size_bytes // RESERVE))
        self._payer = payer
        self._logs: dict[_native.Link, tuple[Holder, Usage]] = {}
        self._used: dict[Holder, Usage] = {}
        self._closed: dict[_native.Link, Holder] = {}
        """Logs of which a record was declined; what follows it has no place here either."""
        self._told: set[Holder] = set()
        """Of whom it was said that records are declined."""
        self._reopened: set[str] = set()
        """Types of which there may be room for what was declined."""

    def know(self, usage: Mapping[_native.Link, Usage], logs: Iterable[Log]) -> None:
        """What is on disk, of all logs."""
        self._logs, self._used = {}, {}
        for log in logs:
            self.add(log, usage.get(log.link, Usage()))

    def add(self, log: Log, change: Usage) -> None:
        """Something of a log was stored, or dropped."""
        link = log.link
        holder, had = self._logs.get(link) or (self.holder(log.type, log.beginnings()[0]), Usage())
        self._logs[link] = holder, had.plus(change)
        used = self._used[holder] = self.used(holder).plus(change)
        if change.size_bytes < 0:
            self._reopen(holder)
            if all(RESERVE * now < (RESERVE - 1) * most for now, most in zip(used, self.most, strict=True)):
                self._told.discard(holder)

    def assign(self, logs: Logs) -> None:
        """It may be known by now whose the logs are that were nobody's."""
        for link, ((type_name, payer), usage) in list(self._logs.items()):
            log = logs.get(link)
            if payer != NOBODY or log is None:
                continue
            holder = self.holder(type_name, log.beginnings()[0])
            if holder != (type_name, NOBODY):
                self._logs[link] = holder, usage
                self._used[holder] = self.used(holder).plus(usage)
                nobodys = self._used[type_name, NOBODY]
                self._used[type_name, NOBODY] = nobodys.plus(Usage(-usage.records, -usage.size_bytes))
        self._closed.clear()
        self._told = {each for each in self._told if each[1] != NOBODY}

    def holder(self, type_name: str, first: First) -> Holder:
        """Whose quota a log counts in that begins like this."""
        return type_name, self._payer(first) or NOBODY

    def holder_of(self, log: _native.Link) -> Holder | None:
        """Whose quota a log counts in of which something is here."""
        known = self._logs.get(log)
        return None if known is None else known[0]

    def used(self, holder: Holder) -> Usage:
        """What a holder has here."""
        return self._used.get(holder, _NOTHING)

    def full(
        self, holder: Holder, more: Usage, value_bytes: int = 0, *, clears: bool = False, used: Usage | None = None
    ) -> Full | None:
        """What keeps so many more records of a holder out, with headers of so many bytes, and a value.

        `clears`: whether they are deletes or erases; `used` is what it has by then, if not what is here. Headers have
        half of the reserve too, so that what clears has its place in a log behind what has no room.
        """
        used, most, reserve = used or self.used(holder), self.most, self.reserve
        if more.records and used.records + more.records > most.records + clears * reserve.records:
            return Full(*holder, used.records, most.records, "records")
        above = reserve.size_bytes if clears else 0 if value_bytes else reserve.size_bytes // 2
        if used.size_bytes + more.size_bytes + value_bytes > most.size_bytes + above:
            return Full(*holder, used.size_bytes, most.size_bytes, "bytes")
        return None

    def full_for_body(self, header: RecordHeader) -> Full | None:
        """What keeps the body out of a record that is here."""
        holder = self.holder_of(header.log)
        return None if holder is None else self.full(holder, _NOTHING, header.size, clears=header.op != "put")

    def with_room(self, arrived: Iterable[Arrived]) -> list[Arrived]:
        """Those records, here without their bodies, whose bodies have room, one after the other."""
        fitting: list[Arrived] = []
        used: dict[Holder, Usage] = {}
        for each in arrived:
            header = each.record.body
            if (holder := self.holder_of(header.log)) is None:
                continue
            with_others = used.get(holder) or self.used(holder)
            if self.full(holder, _NOTHING, header.size, clears=header.op != "put", used=with_others) is None:
                used[holder] = with_others.plus(Usage(0, header.size))
                fitting.append(each)
        return fitting

    def decline(self, declined: Mapping[_native.Link, Full | None], unfit: Iterable[Full]) -> list[Full]:
        """Notes logs that are not taken any further, and quotas in which values have no room; those that are news."""
        fresh = [news for each in unfit for news in self.tell(each)]
        for log, full in declined.items():
            if full is not None:
                fresh += self.tell(full)
                if len(self._closed) < MAX_CLOSED:
                    self._closed[log] = full.type, full.member
        return fresh

    def tell(self, full: Full) -> list[Full]:
        """Notes that something was declined; the quota, if that is news."""
        holder = full.type, full.member
        if holder in self._told:
            return []
        self._told.add(holder)
        return [full]

    def is_closed(self, log: _native.Link) -> bool:
        """Whether what follows in a log is declined, whoever has it."""
        return log in self._closed

    def reopened(self) -> set[str]:
        """Types of which there may be room for what was declined; each is said once."""
        types, self._reopened = self._reopened, set()
        return types

    def _reopen(self, holder: Holder) -> None:
        """Something of a holder is gone. Where there are too many records, that makes no room."""
        if holder in self._told and self.full(holder, Usage(1)) is None:
            self._reopened.add(holder[0])
            for log in [each for each, whose in self._closed.items() if whose == holder]:
                del self._closed[log]

    def largest(self, type_name: str, most: int) -> list[tuple[str, Usage]]:
        """The members that have the most of a type here, by bytes."""
        of_type = ((whose, used) for (name, whose), used in self._used.items() if name == type_name and used.records)
        return nlargest(most, of_type, key=lambda each: (each[1].size_bytes, each[1].records, each[0]))

    def declines(self, type_name: str, member: str) -> bool:
        """Whether records of a member were declined, and it has not made much room since."""
        return (type_name, member) in self._told


class _Part:
    """What a holder has here, with what is planned."""

    __slots__ = ("holder", "records", "size_bytes")

    def __init__(self, holder: Holder, used: Usage) -> None:
        self.holder = holder
        self.records, self.size_bytes = used

    @property
    def used(self) -> Usage:
        return Usage(self.records, self.size_bytes)


class Batch:
    """What a batch adds to what is here, while it is planned."""

    def __init__(self, quotas: Quotas, logs: Logs) -> None:
        self._quotas = quotas
        self._most = quotas.most
        self._counts = logs
        self._parts: dict[_native.Link, _Part] = {}
        """By log; logs of one holder share theirs."""
        self._of_holder: dict[Holder, _Part] = {}
        self._begun: dict[str, list[str]] = {}
        """By author: the types of logs that begin in it."""
        self._promised: set[_native.Link] = set()
        self.declined: dict[_native.Link, Full | None] = {}
        """Logs that are not taken any further; without a quota those that are one too many."""
        self.unfit: dict[Holder, Full] = {}
        """Quotas in which the values of records that are taken have no room."""

    def promise(self, record: _native.Link) -> None:
        """This node's own record is taken whatever is here: it was asked before whether there is room."""
        self._promised.add(record)

    def why_no_log(self, type_name: str, author: str) -> str:
        """Why an author may begin no other log of a type; empty where it may."""
        return self._counts.why_no_other(type_name, author, self._begun.get(author, ()))

    def full(self, header: RecordHeader, size_bytes: int, value_bytes: int) -> Full | None:
        """What keeps a record out, with a header of so many bytes, and a value."""
        part = self._part(header.log, header)
        clears = header.op != "put"
        return self._quotas.full(part.holder, Usage(1, size_bytes), value_bytes, clears=clears, used=part.used)

    def admits(self, record: SignedRecord, body: bytes | None, *, begins: bool) -> tuple[str, bytes | None]:
        """Why a record is declined, and its log with it, empty where it is not; and its body, if that has room.

        `begins`: whether nothing of its log is here.
        """
        log = record.body.log
        part = self._parts.get(log) or self._part(log, record.body)
        records, size_bytes = part.records + 1, part.size_bytes + len(record.envelope) + len(body or b"")
        # Every record comes by here: there is room for nearly all of them.
        if records <= self._most.records and size_bytes <= self._most.size_bytes and not begins:
            part.records, part.size_bytes = records, size_bytes
            return "", body
        return self._looked_at(record, body, part, begins=begins)

    def _looked_at(
        self, record: SignedRecord, body: bytes | None, part: _Part, *, begins: bool
    ) -> tuple[str, bytes | None]:
        header, header_bytes, clears = record.body, len(record.envelope), record.body.op != "put"
        is_promised = record.id in self._promised
        if not is_promised:
            if begins and (why := self.why_no_log(header.type, header.author)):
                self.declined[header.log] = None
                return why, None
            full = self._quotas.full(part.holder, Usage(1, header_bytes), clears=clears, used=part.used)
            if full is not None:
                self.declined[header.log] = full
                return full.why, None
        if begins:
            self._begun.setdefault(header.author, []).append(header.type)
        part.records, part.size_bytes = part.records + 1, part.size_bytes + header_bytes
        if body is None:
            return "", None
        full = self._quotas.full(part.holder, _NOTHING, len(body), clears=clears, used=part.used)
        if full is not None and not is_promised:
            self.unfit[part.holder] = full
            return "", None
        part.size_bytes += len(body)
        return "", body

    def _part(self, log: _native.Link, header: RecordHeader) -> _Part:
        holder = self._quotas.holder_of(log) or self._quotas.holder(header.type, header)
        part = self._of_holder.get(holder)
        if part is None:
            part = self._of_holder[holder] = _Part(holder, self._quotas.used(holder))
        return self._parts.setdefault(log, part)

    def is_behind_declined(self, header: RecordHeader) -> bool:
        """Whether a record whose predecessor is not here waits for one that is declined."""
        log = header.log
        if log not in self.declined and not self._quotas.is_closed(log):
            return False
        self.declined.setdefault(log)
        return True
