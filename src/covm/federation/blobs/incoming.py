"""Files that others send: an offer is handled when the whole file lies here, verified; refused with a reason.

An offer is a durable message, so after a restart it is handed to `take` again, which goes on with what is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from covm import _native
from covm.federation.blobs import rows, tables
from covm.federation.blobs.chunks import Shape
from covm.federation.blobs.download import NO_ROOM, Download, Hopeless, hopeless
from covm.federation.blobs.ledger import MAX_ENDED, Ledger
from covm.federation.blobs.names import safe_name
from covm.federation.blobs.offer import FileOffer, read_offer
from covm.federation.blobs.partial import Partial, free_bytes
from covm.federation.blobs.reach import Reach
from covm.federation.blobs.transfer import DONE, FAILED, FileTransfer
from covm.federation.errors import StoreError
from covm.federation.ports import Refusal
from covm.federation.store.interface import Transaction
from covm.federation.surroundings import Surroundings
from covm.federation.wire.received import Message

T = TypeVar("T")

AT_ONCE: Final = 8
"""Files received at the same time: each holds a descriptor and a few MiB."""

AT_ONCE_FROM_ONE: Final = 2
"""Files of one peer that are begun: so many partial files it may leave here, and a large one does not hold up a small
one."""

MAX_OFFERS_OF_ONE: Final = 100
"""Files of one peer that are under way or wait for their turn; further ones are refused."""

STORE_PAUSE_S: Final = 1.0
"""Between attempts to record what must be recorded while the store cannot be written."""

TOO_MANY: Final = f"{MAX_OFFERS_OF_ONE} files of this sender are under way there; send it again later"
NO_HOME: Final = "that node keeps no files: it has no home"


class Incoming:
    """The handler of offers. `folder` is None for a node without a home."""

    def __init__(
        self, around: Surroundings, ledger: Ledger, reach: Reach, folder: Path | None, max_file_bytes: int
    ) -> None:
        self._around = around
        self._ledger = ledger
        self._reach = reach
        self._folder = folder
        self._max_file_bytes = max_file_bytes
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._places_of: OrderedDict[str, asyncio.Semaphore] = OrderedDict()

    async def start(self) -> None:
        """Knows again what was under way. Raises `StoreError`."""
        for row in await self._around.store.read(lambda tx: rows.load_in(tx, MAX_ENDED)):
            self._ledger.add(_transfer_of(row))

    async def take(self, message: Message[Any]) -> None:
        """Returns when the file is here, whole and verified. Raises `Refusal` with the reason for the sender."""
        try:
            offer = read_offer(message.payload)
        except msgspec.ValidationError as error:
            raise Refusal(f"the offer does not fit: {error}") from None
        transfer = self._ledger.get("in", message.author, message.id)
        if transfer is None:
            if (objection := self._objection(message.author, offer)) is not None:
                raise Refusal(objection)
            transfer = await self._begin(message, offer)
        if transfer.state == DONE:
            return
        if transfer.state == FAILED:
            raise Refusal(transfer.reason)
        async with self._place_of(message.author):
            await self._receive(transfer, offer)

    def _objection(self, peer: str, offer: FileOffer) -> str | None:
        """Why the file is not taken, before anything of it is."""
        if self._folder is None:
            return NO_HOME
        if self._max_file_bytes and offer.size > self._max_file_bytes:
            return f"it has {offer.size:,} bytes, and that node takes files of at most {self._max_file_bytes:,}"
        return TOO_MANY if self._ledger.running("in", peer) >= MAX_OFFERS_OF_ONE else None

    async def _has_room(self, size_bytes: int) -> bool:
        folder = self._folder
        try:
            return folder is not None and await self._around.offload.run(lambda: free_bytes(folder)) >= size_bytes
        except OSError:
            return False

    async def _begin(self, message: Message[Any], offer: FileOffer) -> FileTransfer:
        now_ms = self._around.clock.now_ms()
        row = rows.InRow(
            peer=message.author,
            mid=bytes.fromhex(message.id),
            name=safe_name(offer.name),
            path=None,
            size=offer.size,
            root=offer.root.bytes,
            done_bytes=0,
            state=tables.RUNNING,
            reason="",
            begun_at=now_ms,
            touched_at=now_ms,
        )
        # In the ledger at once, so that the next offer counts it; on disk before anything is written for it.
        transfer = self._ledger.add(_transfer_of(row))
        is_begun = False
        try:
            if await self._has_room(offer.size):
                await self._insist(lambda tx: rows.add_in(tx, row))
                is_begun = True
        finally:
            if not is_begun:
                self._ledger.remove(transfer)
        if not is_begun:
            raise Refusal(NO_ROOM)
        return transfer

    async def _receive(self, transfer: FileTransfer, offer: FileOffer) -> None:
        peer, mid = transfer.peer, bytes.fromhex(transfer.id)
        row = await self._insist(lambda tx: rows.find_in(tx, peer, mid))
        if row is None or self._folder is None or row.root != offer.root.bytes:
            raise Refusal(NO_HOME)
        partial = Partial(self._folder / peer, transfer.id, Shape(row.size))
        try:
            path = await self._fetched(transfer, row, partial)
        except Hopeless as failure:
            await self._give_up(transfer, partial, failure.reason)
            raise Refusal(failure.reason) from None
        await self._end(transfer, tables.DONE, "", bytes(path))
        await self._around.offload.run(partial.discard)
        self._ledger.finish(transfer, str(path))

    async def _fetched(self, transfer: FileTransfer, row: rows.InRow, partial: Partial) -> Path:
        around = self._around
        if not await self._has_room(row.size - row.done_bytes):
            raise Hopeless(NO_ROOM)

        async def record(done_bytes: int) -> None:
            now_ms = around.clock.now_ms()
            with contextlib.suppress(StoreError):  # only the record is behind; a restart fetches that part again
                await around.store.write(lambda tx: rows.progress_in(tx, row.peer, row.mid, done_bytes, now_ms))

        download = Download(
            peer=row.peer,
            root=_native.Link(row.root),
            shape=Shape(row.size),
            partial=partial,
            around=around,
            reach=self._reach,
            turns=self._turns,
            advanced=lambda done_bytes: self._ledger.advance(transfer, done_bytes),
            record=record,
        )
        await download.run(row.done_bytes, timedelta(milliseconds=max(0, around.clock.now_ms() - row.touched_at)))
        try:
            return await around.offload.run(lambda: partial.publish(row.name))
        except OSError as error:
            raise hopeless(error) from error

    async def _give_up(self, transfer: FileTransfer, partial: Partial, reason: str) -> None:
        await self._around.offload.run(partial.discard)
        await self._end(transfer, tables.FAILED, reason, None)
        self._ledger.fail(transfer, reason)

    async def _end(self, transfer: FileTransfer, state: int, reason: str, path: bytes | None) -> None:
        peer, mid, now_ms = transfer.peer, bytes.fromhex(transfer.id), self._around.clock.now_ms()
        await self._insist(lambda tx: rows.end_in(tx, peer, mid, state=state, reason=reason, path=path, now_ms=now_ms))

    async def _insist(self, job: Callable[[Transaction], T]) -> T:
        """What must be on disk before anything follows from it: tried until the store can be written."""
        while True:
            try:
                return await self._around.store.write(job)
            except StoreError:
                await asyncio.sleep(STORE_PAUSE_S)

    def _place_of(self, peer: str) -> asyncio.Semaphore:
        """One peer's places; those of peers that have none taken are forgotten."""
        places = self._places_of.get(peer)
        if places is None:
            for other in [key for key in self._places_of if not self._ledger.running("in", key)]:
                del self._places_of[other]
            places = self._places_of[peer] = asyncio.Semaphore(AT_ONCE_FROM_ONE)
        return places


def _transfer_of(row: rows.InRow) -> FileTransfer:
    transfer = FileTransfer(row.mid.hex(), row.peer, row.name, row.size, "in", row.begun_at)
    if row.state == tables.DONE:
        transfer.finish("" if row.path is None else os.fsdecode(row.path))
    elif row.state == tables.FAILED:
        transfer.fail(row.reason)
    else:
        transfer.advance(row.done_bytes)
    return transfer
