"""`Collection`: the shared data of one type, by key. What programs use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, TypeVar

from covm.federation.errors import BodyUnavailable, InvalidMessage, UnknownCursor, UnknownEntry
from covm.federation.sync import reading
from covm.federation.sync.entries import Change, Entry, Erasure, Version
from covm.federation.sync.resolvers import Resolvers, Sibling
from covm.federation.sync.scribe import Scribe, Write
from covm.federation.wire.id_range import link_of
from covm.federation.wire.record import Place
from covm.federation.wire.record_key import key_problem, text_problem

if TYPE_CHECKING:
    from covm.federation.sync.bodies import Bodies
    from covm.federation.sync.keeper import Keeper
    from covm.federation.sync.taken import Taken
    from covm.federation.wire.registry import TypeRegistry

T = TypeVar("T")

MAX_LISTED: Final = 10_000
"""Entries of one list: more are read by ranges."""

PAGE: Final = 500
"""Changes that are read at once."""


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

        A version whose body has not come yet has the value None, and its fetching begins: see `fetch`. Raises
        `InvalidMessage` for what is no key, as every method that takes one.
        """
        self._require(key_problem(key))
        found = await self._keeper.store.read(lambda tx: reading.heads(tx, self.type, [key]))
        self._bodies.ask_for(each.record.id for each in found if each.is_coming)
        entry = self._entry(key, found)
        return entry if entry is not None and any(head.op == "put" for head in entry.heads) else None

    async def fetch(self, version: Version[T]) -> Version[T]:
        """The version with its value, whose body is fetched if it is not here.

        Bodies above 64 KiB come after their records, at once or, with `bodies="on_demand"` in the type, when somebody
        looks. Raises `BodyUnavailable` when no connected peer gives it, it may later; and of a version that was
        erased, is void, or was replaced before its body came. `UnknownEntry` for what is not of this collection.
        """
        link = version.place.id
        await self._bodies.fetch(link)
        found = await self._keeper.store.read(lambda tx: reading.with_id(tx, self.type, link.bytes))
        if found is None:
            raise UnknownEntry(self.type, version.key)
        fetched = self._version(found)
        if fetched.lacks_value:
            raise BodyUnavailable(self.type, fetched.key, fetched.reason)
        return fetched

    async def put(self, key: str, value: T, *, based_on: Entry[T] | None = None) -> Version[T]:
        """Writes a value; it is on disk when this returns, and goes to everybody who may read the type.

        It replaces the versions of the entry that it is based on, and where none is given those that this node wrote
        itself. What others wrote meanwhile stays beside it: a conflict. Raises `InvalidMessage`, `MessageTooLarge`,
        `NotAMember`, `NotAuthorized`, and `QuotaExceeded` where this node's member has no room for more here.
        """
        self._require_writing(self.type)
        if value is None and self._registry.get(self.type) is not None:
            self._refuse("payload", "None is no value of a type with a form; to say that there is none, use delete()")
        _, payload = self._registry.to_payload(self.type, value)
        return await self._write(key, "put", payload, based_on)

    async def delete(self, key: str, *, based_on: Entry[T] | None = None) -> Version[T]:
        """Says that a key has no value any more. Raises as `put`, and `UnknownEntry`.

        A tenth more than there is room for is kept for deletes and erases.
        """
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

    async def erase(self, version: Version[T] | str, reason: str) -> Version[T]:
        """Takes away what a version says, given by itself or its id, on every node that obeys; returns the erase.

        For what should never have been written. Only a node of the member that wrote it may, in `open` mode the node
        itself; what others wrote, founders can have erased: see `MembershipDesk.erase`. The version stays in its place,
        and in every history it says who erased it and why. What is erased does not come back, also not from a node that
        was away. Raises `UnknownEntry`, `NotAMember`, `NotAuthorized`,
        and `InvalidMessage` for a version without a value, and a reason that is too long.
        """
        self._require_writing(self.type)
        if not isinstance(reason, str):
            self._refuse("reason", f"why something is erased is a text, for people; not {type(reason).__name__}")
        link = self._link(version)
        found = await self._keeper.store.read(lambda tx: reading.with_id(tx, self.type, link))
        if found is None:
            raise UnknownEntry(self.type, version if isinstance(version, str) else version.id)
        record, verdict = await self._scribe.write(
            Write(self.type, found.record.body.key, "erase", reason, None, target=found.record)
        )
        waits = "" if verdict.holds else verdict.reason
        return self._version(reading.Read(record, reason, "held" if waits else "valid", waits))

    async def list(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[Entry[T]]:
        """Entries by key in order, those whose keys begin so, behind another; deleted ones are left out.

        Large values make it shorter than the limit: the next ones are behind the last key, until there is none.
        """
        self._require(text_problem(prefix) or text_problem(after))
        most = self._most(limit)
        found = await self._keeper.store.read(lambda tx: reading.listed(tx, self.type, prefix, after, most))
        by_key: dict[str, list[reading.Read]] = {}
        for each in found:
            by_key.setdefault(each.record.body.key, []).append(each)
        entries = (self._entry(key, rows) for key, rows in by_key.items())
        return [each for each in entries if each is not None and any(head.op == "put" for head in each.heads)]

    async def history(
        self, key: str, after: Version[T] | str | None = None, limit: int = MAX_LISTED
    ) -> Sequence[Version[T]]:
        """The records of a key that are here, void ones and those that wait too, in the order of their clocks.

        Up to 10,000, and fewer where values are large: the next ones are behind the last, given by itself or its id,
        until there is none. Raises `UnknownEntry` for what is no version's id.
        """
        self._require(key_problem(key))
        most = self._most(limit)
        last = None if after is None else self._link(after)
        found = await self._keeper.store.read(lambda tx: reading.history(tx, self.type, key, last, most))
        return [self._version(each) for each in found]

    async def conflicts(self, limit: int = 1000) -> Sequence[Entry[T]]:
        """Entries with several versions side by side, the oldest conflict first.

        Up to 10,000, and fewer where values are large: the others follow once these are decided.
        """
        most = self._most(limit)
        found = await self._keeper.store.read(lambda tx: reading.conflicts(tx, self.type, most))
        entries = (self._entry(key, heads) for key, heads in found.items())
        return [each for each in entries if each is not None]

    async def changes(self, after: int = 0) -> AsyncIterator[Change[T]]:
        """What was found valid or void, behind a cursor, and what will be. Keep the cursor to go on after a restart.

        A version whose body is not here yet comes without its value, and again with it once that has come. Raises
        `UnknownCursor` for one ahead of this node, `InvalidMessage` for what is none.
        """
        if type(after) is not int or after < 0:
            self._refuse("after", f"a cursor is that of a `Change`, or 0 for the beginning; not {after!r:.40}")
        last = max(self._keeper.judged, await self._keeper.store.read(reading.last_judged))
        if after > last:
            raise UnknownCursor(self.type, after, last)
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
                for number, row in found.found:
                    after = number
                    yield Change(number, row.record.body.key, self._version(row))
                if found.is_all:
                    await wake.wait()
        finally:
            self._keeper.listeners.remove(listen)

    async def entries(self, keys: Sequence[str]) -> Sequence[Entry[T]]:
        """The entries of these keys in their order, deleted ones too; what has no version that counts is left out."""
        self._require(next(filter(None, map(key_problem, keys)), None))
        by_key: dict[str, list[reading.Read]] = {}
        for each in await self._keeper.store.read(lambda tx: reading.heads(tx, self.type, keys)):
            by_key.setdefault(each.record.body.key, []).append(each)
        entries = (self._entry(key, by_key.get(key, ())) for key in dict.fromkeys(keys))
        return [each for each in entries if each is not None]

    # --- inside

    def _link(self, version: Version[T] | str) -> bytes:
        """The binary id of a version, given by itself or its id. Raises `UnknownEntry`."""
        if not isinstance(version, Version | str):
            self._refuse("version", f"it is a Version of this collection, or its id; not {type(version).__name__}")
        name = version if isinstance(version, str) else version.id
        if (link := link_of(name)) is None:
            raise UnknownEntry(self.type, name)
        return link.bytes

    def _require(self, problem: str | None) -> None:
        if problem is not None:
            self._refuse("key", problem)

    def _refuse(self, what: str, why: str) -> NoReturn:
        raise InvalidMessage(self.type, what, why)

    def _most(self, limit: int) -> int:
        if type(limit) is not int or limit < 0:
            self._refuse("limit", f"it is how many there may be at most, as in 100; not {limit!r:.40}")
        return min(limit, MAX_LISTED)

    async def _standing(self, key: str) -> Entry[T] | None:
        """The entry of a key, also of one that was deleted."""
        return next(iter(await self.entries([key])), None)

    async def _write(self, key: str, op: Literal["put", "delete"], value: Any, based_on: Entry[T] | None) -> Version[T]:
        if based_on is not None and not isinstance(based_on, Entry):
            self._refuse("based_on", f"it is an Entry, as `get` returns one; not {type(based_on).__name__}")
        places = None if based_on is None else tuple(head.place for head in based_on.heads)
        record, verdict = await self._scribe.write(Write(self.type, key, op, value, places))
        waits = "" if verdict.holds else verdict.reason
        return self._version(reading.Read(record, value, "held" if waits else "valid", waits))

    def _entry(self, key: str, found: Sequence[reading.Read]) -> Entry[T] | None:
        if not found:
            return None
        found = sorted(found, key=reading.by_clock, reverse=True)
        versions = {row.record.id: self._version(row) for row in found}
        lacking = [row for row in found if row.lacks_body]
        if len(lacking) == len(found):
            trouble = versions[found[0].record.id].reason
            return Entry(key, None, tuple(versions.values()), len(found) > 1, trouble)
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
            if not row.lacks_body
        ]
        rule = self._resolvers.of(self.type, self._keeper.authority.rule(self.type))
        resolution = self._resolvers.resolve(rule, siblings)
        value, misfit = self._fitting(None if resolution.is_deleted else resolution.value)
        trouble = resolution.trouble or misfit
        if lacking:
            # What the others say stands; people should know that there was more.
            trouble = trouble or f"of one of its versions, {versions[lacking[0].record.id].reason}"
        return Entry(
            key,
            value,
            tuple(versions.values()),
            resolution.is_conflict or bool(lacking),
            trouble,
            resolution.is_deleted,
        )

    def _fitting(self, payload: Any) -> tuple[T | None, str]:
        """A value as programs get it, or why it is none: what one node may write, another may know no type for."""
        try:
            return (None if payload is None else self._registry.from_payload(self.type, payload)), ""
        except InvalidMessage as error:
            return None, f"its value does not fit the type here: {error}"

    def _version(self, row: reading.Read) -> Version[T]:
        header, erased = row.record.body, self._erased(row)
        value, misfit = (None, "") if header.op == "erase" else self._fitting(row.value)
        if header.op == "erase" and isinstance(row.value, str):
            misfit = row.value
        if erased is not None:
            by = f" by {erased.member or erased.author}"
            by = f", approved by {', '.join(erased.approved_by)}" if erased.approved_by else by
            misfit = f"its value was erased{by}" + (erased.reason and f": {erased.reason}")
        elif row.lacks_body:
            misfit = reading.why_lacking(row, "")
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
            lacks_value=row.lacks_body,
            erased=erased,
        )

    def _erased(self, row: reading.Read) -> Erasure | None:
        if row.erase is not None:
            return Erasure(str(row.erase.id), row.erase.author, self._member_of(row.erase.author), row.why)
        approved = self._keeper.authority.erasures().get(row.record.id, ())
        by = next((each for each in approved if each.id == row.erased_by), None)
        if by is None:
            return None
        return Erasure(
            str(by.id), by.author, self._member_of(by.author), by.reason, tuple(str(each) for each in by.approved_by)
        )
