"""The blob protocol `/covm/blob/1.0.0`: content of any size between two peers, chunk by chunk.

    opener                                        acceptor
      HELLO  ─────────────────────────────────────>
             <─────────────────────────────────────  HELLO
      want (content, place in its tree)  ─────────>  shelf: a file for this peer, a large publication, a record's body
             <─────────────────────────────────────  chunk, or none and why

Each of two peers opens a stream when it wants something of the other. This file knows which stream belongs to whom;
`fetching` and `serving` speak on them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from covm._native import Link
from covm.federation.blobs.bodies import RecordBodies
from covm.federation.blobs.chunks import Place
from covm.federation.blobs.contents import ContentCache
from covm.federation.blobs.incoming import Incoming
from covm.federation.blobs.ledger import Ledger
from covm.federation.blobs.outgoing import Outgoing
from covm.federation.blobs.reach import Reach
from covm.federation.blobs.serving import NotHeld, Server
from covm.federation.blobs.transfer import FileTransfer
from covm.federation.network.interface import (
    BLOB_PROTOCOL,
    FramesReceived,
    PeerAdmitted,
    PeerUnadmitted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.ports import BodyShelf, Courier
from covm.federation.surroundings import BREACHES, Surroundings
from covm.federation.wire.received import Message

FILES: str = "files"
"""The folder in a home where received files lie, in one folder for each sender."""


class BlobProtocol:
    """The shell: takes stream events, sends and receives files, keeps and fetches publications (`ports.Contents`)
    and bodies of records (`ports.BodySource`).

    `home` is None for a node that keeps no files; `max_file_bytes` 0 takes files of any size.
    """

    def __init__(self, around: Surroundings, courier: Courier, home: Path | None, max_file_bytes: int = 0) -> None:
        self._around = around
        self._reach = Reach(around)
        self._ledger = Ledger(around.hub, around.clock)
        self._contents = ContentCache(around, self._reach.fetcher, self._reach)
        self._bodies = RecordBodies(around, self._reach.fetcher)
        self._outgoing = Outgoing(around, self._ledger, courier)
        folder = None if home is None else home / FILES
        self._incoming = Incoming(around, self._ledger, self._reach, folder, max_file_bytes)
        self._servers: dict[int, Server] = {}
        self._server_of: dict[str, Server] = {}

    def meet(self, shelf: BodyShelf) -> None:
        """Who has the records whose bodies others ask for."""
        self._bodies.meet(shelf)

    async def start(self) -> None:
        """Goes on with what was under way. Before the network and the dispatcher start. Raises `StoreError`."""
        await self._incoming.start()
        await self._outgoing.start()

    def stop(self) -> None:
        """Nothing is begun any more; what is under way goes on after the next start."""
        self._reach.close()
        self._ledger.close()

    def close(self) -> None:
        """Frees the threads. Every task has ended by now."""
        self._around.offload.close()

    # --- files ---

    async def send_file(
        self, peer: str, path: str | os.PathLike[str], name: str | None, time_to_live_s: float | None
    ) -> FileTransfer:
        return await self._outgoing.send(peer, path, name, time_to_live_s)

    def transfers(self) -> list[FileTransfer]:
        """Files under way in both directions, and the latest that were; the oldest first."""
        return self._ledger.all()

    async def take_offer(self, message: Message[Any]) -> None:
        """The handler of `system.file`: returns when the file is here. Raises `Refusal`."""
        await self._incoming.take(message)

    # --- ports.Contents ---

    async def keep(self, data: bytes) -> Link:
        return await self._contents.keep(data)

    async def fetch(self, link: Link, size_bytes: int, sources: Sequence[str]) -> tuple[bytes, str]:
        return await self._contents.fetch(link, size_bytes, sources)

    # --- ports.BodySource ---

    async def fetch_body(self, peer: str, record: Link, body: Link, size_bytes: int) -> bytes:
        return await self._bodies.fetch_body(peer, record, body, size_bytes)

    # --- serving.Shelf ---

    async def read(self, peer: str, root: bytes, place: Place) -> bytes:
        """A chunk for a peer: of a file that is for it alone, of a publication, which is for everybody, or of a record
        that it may read."""
        with contextlib.suppress(NotHeld):
            return await self._outgoing.read(peer, root, place)
        with contextlib.suppress(NotHeld):
            return await self._contents.read(root, place)
        return await self._bodies.read(peer, root, place)

    # --- the network ---

    def owns(self, stream: int) -> bool:
        """Whether the stream is of this protocol."""
        return stream in self._servers or stream in self._reach.streams

    def on_admitted(self, event: PeerAdmitted) -> None:
        self._reach.admit(event.peer)

    def on_unadmitted(self, event: PeerUnadmitted) -> None:
        self._reach.lose(event.peer)
        if (server := self._server_of.get(event.peer)) is not None:
            self._drop(server)

    def on_stream_opened(self, event: StreamOpened) -> None:
        if event.peer not in self._reach:
            self._around.close_stream(event.stream)
            return
        if (older := self._server_of.get(event.peer)) is not None:
            self._drop(older)
        server = Server(event.stream, event.peer, self._around, self)
        self._servers[event.stream] = self._server_of[event.peer] = server
        server.task = self._around.supervisor.spawn(server.run(), f"blob stream from {event.peer}")

    def on_frames(self, event: FramesReceived) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            server.on_frames(event.frames)
        elif (fetcher := self._reach.streams.get(event.stream)) is not None:
            fetcher.on_frames(event.frames)
        else:
            self._around.release(event.stream, sum(map(len, event.frames)))

    def on_writable(self, event: StreamWritable) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            server.on_writable()
        elif (fetcher := self._reach.streams.get(event.stream)) is not None:
            fetcher.on_writable()

    def on_closed(self, event: StreamClosed) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            if event.reason in BREACHES:
                self._around.violation(server.peer, event.reason.replace(" ", "_"))
            self._drop(server)
        elif (fetcher := self._reach.streams.get(event.stream)) is not None:
            if event.reason in BREACHES:
                self._around.violation(fetcher.peer, event.reason.replace(" ", "_"))
            fetcher.on_closed(event.reason)

    def on_refused(self, event: StreamRefused) -> None:
        """A stream that broke the framing before it said anything was never shown; its peer pays all the same."""
        self._around.violation(event.peer, event.reason.replace(" ", "_"))

    def _drop(self, server: Server) -> None:
        self._servers.pop(server.stream, None)
        if self._server_of.get(server.peer) is server:
            del self._server_of[server.peer]
        server.stop()


__all__ = ["BLOB_PROTOCOL", "FILES", "BlobProtocol"]
