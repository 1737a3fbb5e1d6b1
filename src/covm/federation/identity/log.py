"""A member's identity log: entries in any order of arrival, forks and all, and what the member is by them.

An entry has its place when the entry before it has one and its key may sign there (`member`). Entries behind one entry
are a *fork*. From a fork, the one branch with a `recover` in it goes on, else the one branch with a `rotate`; if there
is none, or there are several alike, the log ends at the fork until a `recover` decides. So whoever stole the member's
key can stop the log, but what they add is undone by whoever has the next key or the recovery key; and a used next key
that is stolen later is undone by a recovery. Two recoveries by one key stop the log for good, at the place where they
part: so keep the recovery key apart, destroy it once it is used, and if it comes to that, begin a new identity and be
admitted anew.

What the log says depends on the entries that it holds and not on their order. Losing branches are held as well, so
that `at` can tell where they left the log, until there are too many. Then they are dropped, all but the one that is
just being offered, the heaviest two where the log is contested, and what is *pinned*: entries that others name, with
what leads there. That changes no outcome: a branch that lost wins only by what is new in it, and whoever offers that
is asked for the rest; and what is signed by who knew a pinned entry still counts as of where that left the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from covm import _native
from covm.federation.identity.chains import Chains, Placement
from covm.federation.identity.member import MemberState, advance, begin
from covm.federation.identity.update import Recover, Rotate, SignedUpdate, member_of
from covm.federation.identity.verdicts import Verdict, refused, valid, void, waiting
from covm.federation.wire.limits import MAX_IDENTITY_BYTES, MAX_IDENTITY_DEPTH

MAX_HELD: Final = 3 * MAX_IDENTITY_DEPTH
"""Entries of a log that are held, losing branches and all: the longest log, another branch as long, and room."""

MAX_HELD_BYTES: Final = 4 * MAX_IDENTITY_BYTES
"""Bytes of their envelopes: as much as both of these may have, and as much again."""

_RIVALS: Final = 2
"""Branches held where the log is contested: as many as it takes to see that none of them wins."""

_PINNED, _PINNED_BYTES = MAX_IDENTITY_DEPTH, MAX_IDENTITY_BYTES
"""Entries, and bytes of them, held for the pinned ones: the room in `MAX_HELD`. What is nearest to the inception goes
first, whoever came first: a thief that has thousands pinned has them far from the place where the owner left it."""

_ORDINARY, _ROTATION, _RECOVERY = 0, 1, 2


class _Entry:
    """An entry in its place. `weight` is the heaviest that it or anything behind it is."""

    __slots__ = ("before", "behind", "state", "update", "weight")

    def __init__(self, update: SignedUpdate, before: _Entry | None, state: MemberState) -> None:
        self.update = update
        self.before = before
        self.behind: list[_Entry] = []
        self.state = state
        self.weight = _weight(update)


class IdentityLog:
    """The log of one member. Its inception may come last. `pinned` may grow."""

    def __init__(
        self,
        member: _native.Link,
        max_held: int = MAX_HELD,
        max_held_bytes: int = MAX_HELD_BYTES,
        pinned: Collection[_native.Link] = (),
    ) -> None:
        self.member = member
        self._pinned = pinned
        self._max_held = max_held
        self._max_held_bytes = max_held_bytes
        self._size_bytes = 0
        self._entries: dict[_native.Link, _Entry] = {}
        self._chains: Chains[SignedUpdate] = Chains(
            lambda update: update.body.prev, self._entries.__contains__, self._place
        )
        self._path: list[_Entry] = []
        self._is_settled = True

    def add(self, update: SignedUpdate) -> Placement[SignedUpdate]:
        """Takes an entry. `placed` of the answer is to be stored, in that order; `waiting` names what is missing."""
        if member_of(update) != self.member:
            return Placement(refused("it belongs to the log of another member"))
        placement = self._chains.add(update)
        if len(self._entries) <= self._max_held and self._size_bytes <= self._max_held_bytes:
            return placement
        return Placement(placement.verdict, placement.placed, self._make_room(placement.placed))

    @property
    def head(self) -> MemberState | None:
        """What the member is now; None before its inception is here."""
        path = self._settled()
        return path[-1].state if path else None

    @property
    def is_contested(self) -> bool:
        """Whether the log ends at a fork that nothing decides."""
        path = self._settled()
        return bool(path) and len(path[-1].behind) > 1

    def at(self, entry: _native.Link) -> MemberState | None:
        """What the member is for somebody who names this entry as the newest that they know; None if it is not held.

        An entry on a losing branch, or behind a fork that nothing decides, counts as the fork point.
        """
        found = self._entries.get(entry)
        path = self._settled()
        while found is not None and not self._is_on(path, found):
            found = found.before
        return found.state if found else None

    def verdict(self, entry: _native.Link) -> Verdict:
        """What becomes of an entry."""
        found = self._entries.get(entry)
        if found is None:
            return waiting("it has no place in the log, or not yet")
        if self._is_on(self._settled(), found):
            return valid("it is in force")
        left = self.at(entry)
        seq = left.seq if left else 0
        if self.is_contested and seq == self._path[-1].state.seq:
            return void(f"the log is contested behind entry {seq}, and ends there until a recovery")
        return void(f"it is on a branch that lost behind entry {seq} to a rotation or a recovery")

    def updates(self) -> Iterator[SignedUpdate]:
        """The entries in force, from the inception to the head."""
        return (entry.update for entry in self._settled())

    def held(self) -> Iterator[SignedUpdate]:
        """Every entry that has a place, each behind the one before it, losing branches and all."""
        return (entry.update for entry in self._entries.values())

    def had_key(self, key: str) -> bool:
        """Whether a key was ever the member's, on whichever branch."""
        return any(entry.state.key == key for entry in self._entries.values())

    def missing(self) -> list[_native.Link]:
        """Ids of entries that others wait for."""
        return self._chains.missing()

    def __contains__(self, entry: _native.Link) -> bool:
        return entry in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def _place(self, update: SignedUpdate) -> str | None:
        prev = update.body.prev
        before = self._entries[prev] if prev is not None else None
        state = advance(before.state, update) if before is not None else begin(update)
        if isinstance(state, str):
            return state
        entry = self._entries[update.id] = _Entry(update, before, state)
        self._size_bytes += len(update.envelope)
        if before is None:
            self._path = [entry]
            return None
        before.behind.append(entry)
        self._weigh(entry)
        if self._is_settled and self._path[-1] is before and len(before.behind) == 1:
            self._path.append(entry)
        else:
            self._is_settled = False
        return None

    @staticmethod
    def _weigh(entry: _Entry) -> None:
        """Passes a weight on to everything before; each entry is made heavier at most twice."""
        before = entry.before
        while before is not None and before.weight < entry.weight:
            before.weight = entry.weight
            before = before.before

    def _settled(self) -> list[_Entry]:
        """The entries in force."""
        if not self._is_settled:
            entry: _Entry | None = self._path[0]
            self._path = []
            while entry is not None:
                self._path.append(entry)
                entry = _winner(entry.behind)
            self._is_settled = True
        return self._path

    @staticmethod
    def _is_on(path: list[_Entry], entry: _Entry) -> bool:
        seq = entry.state.seq
        return seq <= len(path) and path[seq - 1] is entry

    def _make_room(self, newest: Iterable[SignedUpdate]) -> tuple[_native.Link, ...]:
        """Drops what lost, but not what was just offered or is pinned, nor what leads there."""
        path = self._settled()
        kept = {entry.update.id: entry for entry in path}
        rivals = sorted(path[-1].behind, key=lambda each: (-each.weight, each.update.id.bytes))[:_RIVALS]
        for start in [*rivals, *(self._entries[update.id] for update in newest)]:
            entry: _Entry | None = start
            while entry is not None and entry.update.id not in kept:
                kept[entry.update.id] = entry
                entry = entry.before
        self._keep_pinned(kept)
        for entry in kept.values():
            entry.behind = [each for each in entry.behind if each.update.id in kept]
        dropped = tuple(held for held in self._entries if held not in kept)
        for each in dropped:
            self._size_bytes -= len(self._entries.pop(each).update.envelope)
        return dropped

    def _keep_pinned(self, kept: dict[_native.Link, _Entry]) -> None:
        count, size_bytes = 0, 0
        pinned = [entry for link, entry in self._entries.items() if link in self._pinned and link not in kept]
        for entry in sorted(pinned, key=lambda each: (each.state.seq, each.update.id.bytes)):
            lead: list[_Entry] = []
            at: _Entry | None = entry
            while at is not None and at.update.id not in kept and count + len(lead) < _PINNED:
                lead.append(at)
                at = at.before
            more_bytes = sum(len(each.update.envelope) for each in lead)
            is_whole = at is None or at.update.id in kept
            if is_whole and size_bytes + more_bytes <= _PINNED_BYTES:
                kept.update((each.update.id, each) for each in lead)
                count, size_bytes = count + len(lead), size_bytes + more_bytes


def _weight(update: SignedUpdate) -> int:
    if isinstance(update.body, Recover):
        return _RECOVERY
    return _ROTATION if isinstance(update.body, Rotate) else _ORDINARY


def _winner(behind: list[_Entry]) -> _Entry | None:
    """Which branch goes on from an entry; None when there is none, or nothing decides between several."""
    if len(behind) < 2:
        return behind[0] if behind else None
    heaviest = max(entry.weight for entry in behind)
    heavy = [entry for entry in behind if entry.weight == heaviest]
    return heavy[0] if len(heavy) == 1 else None
