"""The identity logs of many members, and whose an entry or a node is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from covm import _native
from covm.federation.identity.chains import Placement
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.identity.update import SignedUpdate, member_of


class Identities:
    """Identity logs by member. Whose logs are taken, how many, and what stays `pinned`, is for the caller to say."""

    def __init__(self, updates: Iterable[SignedUpdate] = (), pinned: Collection[_native.Link] = ()) -> None:
        self._pinned = pinned
        self._logs: dict[_native.Link, IdentityLog] = {}
        self._member_of: dict[_native.Link, _native.Link] = {}
        for update in updates:
            self.add(update)

    def add(self, update: SignedUpdate) -> Placement[SignedUpdate]:
        """Takes an entry into the log of its member; see `IdentityLog.add`."""
        member = member_of(update)
        log = self._logs.get(member)
        if log is None:
            log = self._logs[member] = IdentityLog(member, pinned=self._pinned)
        placement = log.add(update)
        for placed in placement.placed:
            self._member_of[placed.id] = member
        for dropped in placement.dropped:
            self._member_of.pop(dropped, None)
        return placement

    def with_entry(self, update: SignedUpdate) -> Identities:
        """These logs with one entry more, to see what would come of it; the other logs are the same objects."""
        member = member_of(update)
        tried = Identities(pinned=self._pinned)
        tried._logs, tried._member_of = dict(self._logs), dict(self._member_of)
        before = tried._logs.pop(member, None)
        for each in (*(before.held() if before else ()), update):
            tried.add(each)
        return tried

    def log(self, member: _native.Link) -> IdentityLog | None:
        """A member's log; None when nothing of it is here."""
        return self._logs.get(member)

    def log_of(self, entry: _native.Link) -> IdentityLog | None:
        """The log in which an entry has its place; None when it has none here."""
        member = self._member_of.get(entry)
        return None if member is None else self._logs[member]

    def head(self, member: _native.Link) -> MemberState | None:
        """What a member is now; None while its inception is not here."""
        log = self._logs.get(member)
        return None if log is None else log.head

    def forget(self, member: _native.Link) -> None:
        """Lets go of a member's log."""
        log = self._logs.pop(member, None)
        for update in log.held() if log else ():
            self._member_of.pop(update.id, None)

    def __iter__(self) -> Iterator[IdentityLog]:
        return iter(self._logs.values())

    def __len__(self) -> int:
        return len(self._logs)
