"""What people do with messages that arrived: look at what waits for handlers, and deal with what is quarantined."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from covm.federation.clock import Clock
from covm.federation.dispatch import inbox_queries, tables
from covm.federation.dispatch.inbox import SEEN_AT_MOST_MS
from covm.federation.dispatch.inbox_journal import InboxJournal
from covm.federation.dispatch.inbox_queries import STATES, InboxEntry, Shown
from covm.federation.dispatch.lanes import Lane
from covm.federation.errors import BodyUnavailable, StoreCorrupt, StoreError, UnknownMessage
from covm.federation.wire.limits import MID_SIZE

if TYPE_CHECKING:
    from typing import Any

MAX_LISTED = 1_000
"""Entries of one answer: more than anyone reads; `before` pages on."""

_STATE_NUMBERS = {name: number for number, name in STATES.items()}


class InboxDesk:
    """Every method raises `StoreError`; those that take an id raise `UnknownMessage` for one that is not here."""

    def __init__(self, journal: InboxJournal, resume: Callable[[Lane, int], None], clock: Clock) -> None:
        self._journal = journal
        self._resume = resume
        self._clock = clock

    async def listed(
        self,
        peer: str | None = None,
        state: str | None = None,
        limit: int = 100,
        before: int | None = None,
        type_name: str | None = None,
    ) -> list[InboxEntry]:
        """What is not dealt with, the newest first, at most 1,000; `before` is the `number` of one, to page on.

        `state` is `pending`, `quarantined` or `unhandled`. Raises `ValueError` for another.
        """
        if state is not None and state not in _STATE_NUMBERS:
            raise ValueError(f"a message in the inbox is {', '.join(_STATE_NUMBERS)}; not {state}")
        number = None if state is None else _STATE_NUMBERS[state]
        query = partial(
            inbox_queries.list_entries,
            publications=self._journal.publications,
            state=number,
            peer=peer,
            type_name=type_name,
            before_id=before,
            limit=max(0, min(limit, MAX_LISTED)),
        )
        return await self._journal.store.read(query)

    async def ids_from(self, prefix: str, limit: int = 10) -> list[str]:
        """Ids of messages that begin with these hexadecimal digits."""
        digits = prefix.lower()
        if not digits or len(digits) > 2 * MID_SIZE or not set(digits) <= set("0123456789abcdef"):
            return []
        return await self._journal.store.read(partial(inbox_queries.ids_from, prefix=digits, limit=limit))

    async def show(self, message_id: str) -> InboxEntry:
        """One message; instead of the whole id its beginning will do, if only one has it."""
        return (await self._found(message_id)).entry

    async def payload(self, message_id: str) -> Any:
        """What a message carries, as plain values.

        Raises `StoreCorrupt` if the disk damaged it, and `BodyUnavailable` for a record that was erased since, or whose
        value is not kept any longer.
        """
        found = await self._found(message_id)
        if found.body is None:
            raise StoreCorrupt("of this node", f"message {found.entry.id} is not any more what was stored")
        _require_said(found)
        return found.body.payload if found.said is None else found.said.payload

    async def retry(self, message_id: str) -> InboxEntry:
        """Hands a quarantined message to its handlers again, at the end of its lane: `message.out_of_order` tells.

        Handlers that are through with it are not called again. Returns it as it is then. Raises `BodyUnavailable` for
        a record that was erased since, or whose value is not kept any longer: it stays until it is discarded.
        """
        found = await self._quarantined(message_id)
        _require_said(found)
        entry = found.entry
        new_id = self._journal.next_id()
        retry = partial(inbox_queries.retry_quarantined, inbox_id=entry.number, new_id=new_id)
        try:
            resumed = await self._journal.store.write(retry)
        except StoreError:
            # It may have been committed all the same: then the lane finds it.
            self._resume((entry.author, entry.type), new_id)
            raise
        if resumed is None:
            raise UnknownMessage(message_id, "quarantine")
        lane, size_bytes = resumed
        self._journal.quarantine.remove(lane[0], size_bytes)
        self._journal.holdings.add(lane[0], size_bytes)
        self._resume(lane, new_id)
        return entry._replace(state=STATES[tables.PENDING], number=new_id)

    async def discard(self, message_id: str) -> InboxEntry:
        """Drops a quarantined message for good; its sender was told that it failed. Returns what it was."""
        entry = (await self._quarantined(message_id)).entry
        forget_at_ms = self._clock.now_ms() + SEEN_AT_MOST_MS
        discard = partial(inbox_queries.discard_quarantined, inbox_id=entry.number, forget_at_ms=forget_at_ms)
        if not await self._journal.store.write(discard):
            raise UnknownMessage(message_id, "quarantine")
        self._journal.quarantine.remove(entry.author, entry.size_bytes)
        return entry

    async def _quarantined(self, message_id: str) -> Shown:
        found = await self._found(message_id, "quarantine")
        if found.entry.state != STATES[tables.QUARANTINE]:
            raise UnknownMessage(message_id, "quarantine")
        return found

    async def _found(self, message_id: str, where: str = "inbox") -> Shown:
        ids = [message_id.lower()]
        if len(message_id) != 2 * MID_SIZE:
            ids = await self.ids_from(message_id, 2)
        found = None
        if len(ids) == 1:
            try:
                mid = bytes.fromhex(ids[0])
            except ValueError:
                raise UnknownMessage(message_id, where) from None
            found = await self._journal.store.read(
                partial(inbox_queries.find_entry, publications=self._journal.publications, mid=mid)
            )
        if found is None:
            raise UnknownMessage(message_id, where)
        return found


def _require_said(found: Shown) -> None:
    """Raises `BodyUnavailable` for a record that says nothing here any more."""
    if found.said is not None and found.said.gone:
        raise BodyUnavailable(found.entry.type, found.said.key, found.said.gone)
