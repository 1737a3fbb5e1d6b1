"""Files that this node sends: hashed once, offered by a durable message, then read from where they lie.

The receiver asks for chunks when and as fast as it likes. What became of the file is what became of the offer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Final

from covm import _native
from covm.federation.blobs import rows, tables
from covm.federation.blobs.chunks import FANOUT, LEAF_BYTES, Node, Place, Shape, TreeBuilder, checked_node
from covm.federation.blobs.ledger import MAX_ENDED, Ledger
from covm.federation.blobs.offer import MAX_OFFERED_NAME, OFFER_TYPE, FileOffer, offer_payload
from covm.federation.blobs.serving import Gone, NotHeld
from covm.federation.blobs.source import CHANGED, Source, SourceGone, look_at
from covm.federation.blobs.transfer import FileTransfer
from covm.federation.errors import (
    DeliveryTimeout,
    FederationError,
    FileUnreadable,
    InvalidMessage,
    MessageError,
    MessageRefused,
    NotStarted,
    OutboxFull,
    StoreError,
    UnknownMessage,
)
from covm.federation.ports import Courier
from covm.federation.store.interface import Transaction
from covm.federation.surroundings import Surroundings
from covm.federation.wire.display import shown
from covm.federation.wire.limits import MAX_TIME_TO_LIVE, MID_SIZE
from covm.federation.wire.malformed import Malformed

MAX_OFFERS_TO_ONE: Final = 100
"""Files on their way to one peer: as many as it takes of one."""

MAX_OFFERS: Final = 1_000
"""Files on their way to all peers together."""

OFFER_BYTES: Final = 16 * 1024
"""An offer's payload: a name, a size, a root."""

FOLLOWED_FOR: Final = timedelta(days=1)
"""How long a receipt is awaited before somebody looks whether the file is worth keeping ready."""

KEPT_READY_FOR: Final = MAX_TIME_TO_LIVE
"""How long a file is kept ready for a receiver that has the offer and does not say what became of it."""

STORE_PAUSE_S: Final = 1.0
"""Between attempts to read what became of an offer while the store cannot be read."""

INTERRUPTED: Final = "this node was stopped while the file was being offered; send it again"


class _Offered:
    """One file that is kept ready for one peer."""

    __slots__ = ("failure", "mid", "node", "root", "shape", "source", "transfer")

    def __init__(self, transfer: FileTransfer, mid: bytes, root: _native.Link, source: Source) -> None:
        self.transfer = transfer
        self.mid = mid
        self.root = root
        self.source = source
        self.shape = Shape(source.size)
        self.failure = ""
        self.node: tuple[int, list[_native.Link]] | None = None
        """The node over the leaves that were read last, by its position."""


class Outgoing:
    """Sends files, and has their chunks for who they are for."""

    def __init__(self, around: Surroundings, ledger: Ledger, courier: Courier) -> None:
        self._around = around
        self._ledger = ledger
        self._courier = courier
        self._offered: dict[tuple[str, bytes], dict[bytes, _Offered]] = {}

    async def start(self) -> None:
        """Goes on with what was on its way. Raises `StoreError`."""
        await self._around.store.write(rows.drop_strays)
        for row in await self._around.store.read(lambda tx: rows.load_out(tx, MAX_ENDED)):
            transfer = self._ledger.add(_transfer_of(row))
            if row.state == tables.RUNNING:
                offered = _Offered(transfer, row.mid, _native.Link(row.root), row.source)
                self._keep_ready(offered)
                self._around.supervisor.launch(self._resume(offered), f"file {transfer.id}")

    async def send(
        self, peer: str, path: str | os.PathLike[str], name: str | None, time_to_live_s: float | None
    ) -> FileTransfer:
        """Hashes a file and offers it. Raises as `FederationService.send_file` says; then nothing was offered."""
        around = self._around
        if peer == around.network.peer_id:
            raise InvalidMessage(OFFER_TYPE, "", "the recipient is this node itself; copy the file instead")
        around.presence.may_write_to(peer)
        if self._ledger.running("out", peer) >= MAX_OFFERS_TO_ONE:
            raise OutboxFull(peer, self._ledger.running("out", peer), MAX_OFFERS_TO_ONE, "files")
        if self._ledger.running("out") >= MAX_OFFERS:
            raise OutboxFull("all peers together", self._ledger.running("out"), MAX_OFFERS, "files")
        source = await around.offload.run(lambda: look_at(path))
        mid = around.random.bytes(MID_SIZE)
        shown_name = shown((name or Path(os.fsdecode(source.path)).name)[:MAX_OFFERED_NAME])[:MAX_OFFERED_NAME]
        transfer = FileTransfer(mid.hex(), peer, shown_name, source.size, "out", around.clock.now_ms())
        transfer.path = os.fsdecode(source.path)
        self._ledger.add(transfer)
        try:
            await self._offer(transfer, mid, source, time_to_live_s)
        except BaseException:
            self._ledger.remove(transfer)
            raise
        return transfer

    async def read(self, peer: str, root: bytes, place: Place) -> bytes:
        """A chunk of a file that is kept ready for this peer. Raises `NotHeld`, `Gone`."""
        there = self._offered.get((peer, root))
        if not there:
            raise NotHeld
        offered = next((one for one in there.values() if not one.failure), None)
        if offered is None:
            raise Gone(next(iter(there.values())).failure)
        if not offered.shape.has(place):
            raise NotHeld
        if place.level:
            return await self._node_body(offered, place)
        link = await self._leaf_link(offered, place.position)
        try:
            data = await self._around.offload.run(lambda: offered.source.leaf(place.position, link))
        except SourceGone as gone:
            self._fail(offered, str(gone))
            raise Gone(str(gone)) from None
        self._ledger.advance(offered.transfer, (place.position + 1) * LEAF_BYTES)
        return data

    async def _offer(self, transfer: FileTransfer, mid: bytes, source: Source, time_to_live_s: float | None) -> None:
        store = self._around.store
        try:
            root = await self._hashed(mid, source)
            row = rows.OutRow(
                mid, transfer.peer, transfer.name, source, root.bytes, tables.RUNNING, "", transfer.began_ms
            )
            await store.write(lambda tx: rows.add_out(tx, row))
            offered = _Offered(transfer, mid, root, source)
            self._keep_ready(offered)
            offer = FileOffer(name=transfer.name, size=source.size, root=root)
            transfer.receipt = await self._courier.send(
                transfer.peer, OFFER_TYPE, offer_payload(offer), time_to_live_s, OFFER_BYTES, mid
            )
        except FederationError:
            self._put_away(transfer.peer, mid)
            with contextlib.suppress(StoreError):  # the next start finds that nothing was offered
                await store.write(lambda tx: rows.drop_out(tx, mid))
            raise
        self._around.supervisor.launch(self._follow(offered), f"file {transfer.id}")

    async def _hashed(self, mid: bytes, source: Source) -> _native.Link:
        """Reads the whole file once; its nodes go to the store as they are complete."""
        builder, count, position = TreeBuilder(), Shape(source.size).counts[0], 0
        while position < count:
            begin = position
            try:
                leaves = await self._around.offload.run(lambda begin=begin: source.leaves(begin))  # type: ignore[misc]
            except SourceGone as gone:
                raise FileUnreadable(os.fsdecode(source.path), f"{gone}, while it was read") from None
            nodes: list[Node] = []
            for link, size_bytes in leaves:
                nodes += builder.add(link, size_bytes)
            await self._keep_nodes(mid, nodes)
            position += len(leaves)
        root, rest = builder.finish()
        await self._keep_nodes(mid, rest)
        return root

    async def _keep_nodes(self, mid: bytes, nodes: list[Node]) -> None:
        if nodes:
            await self._around.store.write(lambda tx: rows.add_nodes(tx, mid, nodes))

    async def _resume(self, offered: _Offered) -> None:
        while offered.transfer.receipt is None:
            try:
                offered.transfer.receipt = await self._courier.receipt(offered.transfer.id)
            except UnknownMessage:
                self._fail(offered, INTERRUPTED)
                await self._end(offered, tables.FAILED, INTERRUPTED)
                return
            except StoreError:
                await asyncio.sleep(STORE_PAUSE_S)
        await self._follow(offered)

    async def _follow(self, offered: _Offered) -> None:
        """Waits for what becomes of the offer, however long it takes."""
        receipt, transfer = offered.transfer.receipt, offered.transfer
        reason: str | None = None
        while receipt is not None and reason is None:
            try:
                await receipt.handled(FOLLOWED_FOR)
            except DeliveryTimeout:
                age_ms = self._around.clock.now_ms() - transfer.began_ms
                if age_ms > KEPT_READY_FOR.total_seconds() * 1000:
                    reason = f"it was not fetched within {KEPT_READY_FOR.days} days"
                continue
            except NotStarted:
                return
            except MessageRefused:
                reason = receipt.reason or "it was refused there"
            except MessageError as error:
                reason = str(error)
            else:
                break
        if reason is None:
            self._ledger.finish(transfer)
            await self._end(offered, tables.DONE, "")
        else:
            self._fail(offered, reason)
            await self._end(offered, tables.FAILED, offered.failure)

    def _fail(self, offered: _Offered, reason: str) -> None:
        """Told here at once; the receiver learns it when it asks next."""
        offered.failure = offered.failure or reason
        self._ledger.fail(offered.transfer, offered.failure)

    async def _end(self, offered: _Offered, state: int, reason: str) -> None:
        self._put_away(offered.transfer.peer, offered.mid)
        mid, now_ms = offered.mid, self._around.clock.now_ms()

        def job(tx: Transaction) -> None:
            rows.end_out(tx, mid, state, reason, now_ms)

        with contextlib.suppress(StoreError):  # the next start asks the receipt again and comes to the same
            await self._around.store.write(job)

    def _keep_ready(self, offered: _Offered) -> None:
        self._offered.setdefault((offered.transfer.peer, offered.root.bytes), {})[offered.mid] = offered

    def _put_away(self, peer: str, mid: bytes) -> None:
        for key in [key for key, there in self._offered.items() if key[0] == peer and mid in there]:
            del self._offered[key][mid]
            if not self._offered[key]:
                del self._offered[key]

    async def _leaf_link(self, offered: _Offered, position: int) -> _native.Link:
        if not offered.shape.root.level:
            return offered.root
        above = Place(1, position // FANOUT)
        if offered.node is None or offered.node[0] != above.position:
            body = await self._node_body(offered, above)
            try:
                links = checked_node(body, offered.shape, above, _native.cid(body))
            except Malformed:
                raise Gone(CHANGED) from None
            offered.node = above.position, links
        return offered.node[1][position % FANOUT]

    async def _node_body(self, offered: _Offered, place: Place) -> bytes:
        try:
            body = await self._around.store.read(lambda tx: rows.node_body(tx, offered.mid, place))
        except StoreError:
            raise NotHeld from None
        if body is None:
            raise NotHeld
        return body


def _transfer_of(row: rows.OutRow) -> FileTransfer:
    transfer = FileTransfer(row.mid.hex(), row.peer, row.name, row.source.size, "out", row.begun_at)
    transfer.path = os.fsdecode(row.source.path)
    if row.state == tables.DONE:
        transfer.finish()
    elif row.state == tables.FAILED:
        transfer.fail(row.reason)
    return transfer
