"""`Collection`: the shared data of one type, by key. What programs use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from covm.federation.errors import InvalidMessage, UnknownEntry
from covm.federation.identity.roles import DEFAULT_RULE
from covm.federation.sync import reading
from covm.federation.sync.resolvers import Resolvers, Sibling
from covm.federation.sync.scribe import Scribe, Write
from covm.federation.wire.record import Hlc, Place

if TYPE_CHECKING:
    from covm.federation.sync.bodies import Bodies
    from covm.federation.sync.keeper import Keeper, Taken
    from covm.federation.wire.registry import TypeRegistry

T = TypeVar("T")

MAX_LISTED: Final = 10_000
"""Entries of one list: more are read by ranges."""

PAGE: Final = 500
"""Changes that are read at once."""


@dataclass(frozen=True, slots=True)
class Version(Generic[T]):
    """One record of a key."""

    id: str
    """The record's id."""
    key: str
    """What it is about."""
    author: str
    """The peer id of the node that wrote it."""
    member: str | None
    """The member whose node that is now; None in `open` mode, and for one that is not known any more."""
    written_at_ms: int
    """By the author's clock, in milliseconds since 1970-01-01 UTC: it orders what is shown, and proves nothing."""
    op: Literal["put", "delete", "erase"]
    """What it says: a value, that there is none any more, or that another record's body is to go."""
    value: T | None
    """None for a delete, and where the body is not held any more."""
    state: Literal["valid", "void", "held"]
    """Whether it counts; a held one waits for what it builds on, or for its author to become known."""
    reason: str
    """Why it is void, or waits, or why its value is None though it has one: it does not fit the registered type, or its
    body is not here yet."""
    place: Place
    """Where it stands, for `based_on`."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A key, with what its versions come to."""

    key: str
    """What it is about."""
    value: T | None
    """As the type's resolver says; None for one that was deleted."""
    heads: tuple[Version[T], ...]
    """The versions that stand side by side: one, unless some did not know of each other."""
    is_conflict: bool
    """Whether people should look: see `resolve`."""
    trouble: str
    """Why the type's resolver could not be asked, or why the value is None though there is one; else empty."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """Something of a key has been found valid, or void."""

    cursor: int
    """Go on behind it with `changes(after=cursor)`."""
    key: str
    """What it is about."""
    version: Version[T]
    """The record."""


class Collection(Generic[T]):
    """Get it from `FederationService.collection`. Every method raises `StoreError` when the disk fails.

    What was being written then may be on disk all the same. A node whose clock had been ahead goes on behind what it
    wrote then: such a version is `held`, and counts once its time has come.
    """

    def __init__(
        self,
        type_name: str,
        keeper: Keeper,
        scribe: Scribe,
        resolvers: Resolvers,
        registry: TypeRegistry,
        member_of: Callable[[str], str | None],
        require_writing: Callable[[str], None],
        bodies: Bodies,
    ) -> None:
        self.type = type_name
        self._keeper = keeper
        self._scribe = scribe
        self._resolvers = resolvers
        self._registry = registry
        self._member_of = member_of
        self._require_writing = require_writing
        self._bodies = bodies

    async def get(self, key: str) -> Entry[T] | None:
        """The entry of a key; None where there never was one, or it was deleted.

        A version whose body has not come yet has the value None, and its fetching begins: see `fetch`.
        """
        found = await self._keeper.store.read(lambda tx: reading.heads(tx, self.type, [key]))
        self._bodies.ask_for(each.record.id for each in found if each.lacks_body)
        entry = self._entry(key, found)
        return entry if entry is not None and any(head.op == "put" for head in entry.heads) else None

    async def fetch(self, version: Version[T]) -> Version[T]:
        """The version with its value, whose body is fetched if it is not here.

        Bodies above 64 KiB come after their records, at once or, with `bodies="on_demand"` in the type, when somebody
        looks. Raises `BodyUnavailable` when no connected peer gives it; it may later.
        """
        await self._bodies.fetch(version.place.id)
        found = await self._keeper.store.read(lambda tx: reading.one(tx, version.place.id))
        return version if found is None else self._version(found)

    async def put(self, key: str, value: T, *, based_on: Entry[T] | None = None) -> Version[T]:
        """Writes a value; it is on disk when this returns, and goes to everybody who may read the type.

        It replaces the versions of the entry that it is based on, and where none is given those that this node wrote
        itself. What others wrote meanwhile stays beside it: a conflict. Raises `InvalidMessage`, `MessageTooLarge`,
        `NotAMember`, `NotAuthorized`.
        """
        self._require_writing(self.type)
        _, payload = self._registry.to_payload(self.type, value)
        return await self._write(key, "put", payload, based_on)

    async def delete(self, key: str, *, based_on: Entry[T] | None = None) -> Version[T]:
        """Says that a key has no value any more. Raises as `put`, and `UnknownEntry`."""
        self._require_writing(self.type)
        entry = based_on or await self.get(key)
        if entry is None:
            raise UnknownEntry(self.type, key)
        return await self._write(key, "delete", None, entry)

    async def resolve(self, key: str, value: T) -> Version[T]:
        """Writes a value that replaces all versions of a key which stand side by side now. Raises as `delete`."""
        entry = await self._standing(key)
        if entry is None:
            raise UnknownEntry(self.type, key)
        return await self.put(key, value, based_on=entry)

    async def list(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[Entry[T]]:
        """Entries by key in order, those whose keys begin so, behind another; deleted ones are left out."""
        most = max(1, min(limit, MAX_LISTED))
        found = await self._keeper.store.read(lambda tx: reading.listed(tx, self.type, prefix, after, most))
        by_key: dict[str, list[reading.Read]] = {}
        for each in found:
            by_key.setdefault(each.record.body.key, []).append(each)
        entries = (self._entry(key, rows) for key, rows in by_key.items())
        return [each for each in entries if each is not None and any(head.op == "put" for head in each.heads)]

    async def history(self, key: str) -> Sequence[Version[T]]:
        """Every record of a key that is here, void ones and those that wait too, in the order of their clocks."""
        found = await self._keeper.store.read(lambda tx: reading.history(tx, self.type, key))
        return [self._version(each) for each in sorted(found, key=_by_clock)]

    async def conflicts(self, limit: int = 1000) -> Sequence[Entry[T]]:
        """Entries with several versions side by side, the oldest conflict first."""
        keys = await self._keeper.store.read(lambda tx: reading.conflicts(tx, self.type, limit))
        found = await self._keeper.store.read(lambda tx: reading.heads(tx, self.type, keys))
        entries = (self._entry(key, [each for each in found if each.record.body.key == key]) for key in keys)
        return [each for each in entries if each is not None]

    async def changes(self, after: int = 0) -> AsyncIterator[Change[T]]:
        """What was found valid or void, behind a cursor, and what will be. Keep the cursor to go on after a restart.

        A version whose body is not here yet comes without its value, and again with it once that has come.
        """
        wake = asyncio.Event()

        def listen(taken: Taken) -> None:
            if any(name == self.type for name, _ in taken.keys):
                wake.set()

        self._keeper.listeners.append(listen)
        try:
            while True:
                wake.clear()
                cursor = after
                found = await self._keeper.store.read(lambda tx: reading.judged(tx, self.type, cursor, PAGE))  # noqa: B023
                for number, row in found:
                    after = number
                    yield Change(number, row.record.body.key, self._version(row))
                if len(found) < PAGE:
                    await wake.wait()
        finally:
            self._keeper.listeners.remove(listen)

    # --- inside

    async def _standing(self, key: str) -> Entry[T] | None:
        """The entry of a key, also of one that was deleted."""
        return self._entry(key, await self._keeper.store.read(lambda tx: reading.heads(tx, self.type, [key])))

    async def _write(self, key: str, op: Literal["put", "delete"], value: Any, based_on: Entry[T] | None) -> Version[T]:
        places = None if based_on is None else tuple(head.place for head in based_on.heads)
        record, verdict = await self._scribe.write(Write(self.type, key, op, value, places))
        waits = "" if verdict.holds else verdict.reason
        return self._version(reading.Read(record, value, "held" if waits else "valid", waits))

    def _entry(self, key: str, found: Sequence[reading.Read]) -> Entry[T] | None:
        if not found:
            return None
        found = sorted(found, key=_by_clock, reverse=True)
        versions = {row.record.id: self._version(row) for row in found}
        siblings = [
            Sibling(
                id=row.record.id,
                author=row.record.author,
                member=versions[row.record.id].member,
                hlc=row.record.body.hlc,
                op="put" if row.record.body.op == "put" else "delete",
                value=row.value,
            )
            for row in found
        ]
        rule = self._keeper.authority.rule(self.type).resolver
        lacks = reading.NOT_HERE if any(row.lacks_body for row in found) else ""
        # Which is the latest shows without bodies; what else a rule may say needs all of them.
        shown = DEFAULT_RULE.resolver if lacks and rule.name != "last_writer_wins" else rule
        resolution = self._resolvers.resolve(shown, siblings)
        value, misfit = self._fitting(None if resolution.is_deleted else resolution.value)
        return Entry(
            key, value, tuple(versions.values()), resolution.is_conflict, lacks or resolution.trouble or misfit
        )

    def _fitting(self, payload: Any) -> tuple[T | None, str]:
        """A value as programs get it, or why it is none: what one node may write, another may know no type for."""
        try:
            return (None if payload is None else self._registry.from_payload(self.type, payload)), ""
        except InvalidMessage as error:
            return None, f"its value does not fit the type here: {error}"

    def _version(self, row: reading.Read) -> Version[T]:
        header = row.record.body
        value, misfit = self._fitting(row.value)
        return Version(
            id=str(row.record.id),
            key=header.key,
            author=row.record.author,
            member=self._member_of(row.record.author),
            written_at_ms=header.hlc.time_ms,
            op=header.op,
            value=value,
            state=row.state,
            reason=row.reason or misfit,
            place=Place(header.log, header.seq, row.record.id),
        )


def _by_clock(row: reading.Read) -> tuple[Hlc, bytes]:
    return row.record.body.hlc, row.record.id.bytes
