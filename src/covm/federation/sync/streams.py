"""The streams of shared data: ours to each admitted peer, and each peer's to us."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from covm.federation.network.interface import (
    FramesReceived,
    PeerAdmitted,
    PeerUnadmitted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.surroundings import BREACHES, Surroundings
from covm.federation.sync.asking import Asker
from covm.federation.sync.fetching import Fetcher
from covm.federation.sync.serving import Library, Server
from covm.federation.wire.sync_frames import Owed, Roots


class SyncStreams:
    """Takes the network's events. `heard` is told what peers hold; `left`, that one is not connected any more."""

    def __init__(
        self,
        around: Surroundings,
        library: Library,
        fetcher: Fetcher,
        heard: Callable[[str, Roots, Owed], None],
        left: Callable[[], None],
    ) -> None:
        self.partners = fetcher.partners
        self._around = around
        self._library = library
        self._fetcher = fetcher
        self._heard = heard
        self._left = left
        self._streams: dict[int, Asker] = {}
        self._servers: dict[int, Server] = {}
        self._server_of: dict[str, Server] = {}

    def news(self, types: Collection[str] | None = None) -> None:
        """Something of these types has come, or of any: peers are told."""
        for server in self._servers.values():
            server.news(types)

    def anew(self) -> None:
        """Peers are told everything again."""
        for server in self._servers.values():
            server.anew()

    def owns(self, stream: int) -> bool:
        """Whether the stream is of this protocol."""
        return stream in self._servers or stream in self._streams

    def on_admitted(self, event: PeerAdmitted) -> None:
        if event.peer in self.partners:
            return
        partner = self._fetcher.meet(Asker(event.peer, self._around, partial(self._heard, event.peer)))
        asker = partner.asker

        def opened(stream: int) -> None:
            self._streams[stream] = asker

        partner.task = self._around.supervisor.spawn(asker.run(opened), f"sync stream to {event.peer}")

    def on_unadmitted(self, event: PeerUnadmitted) -> None:
        if (partner := self.partners.pop(event.peer, None)) is not None:
            if partner.task is not None:
                partner.task.cancel()
            partner.asker.on_closed("it is not connected any more")
            self._left()
        if (server := self._server_of.get(event.peer)) is not None:
            self._drop(server)

    def on_stream_opened(self, event: StreamOpened) -> None:
        if event.peer not in self.partners:
            self._around.close_stream(event.stream)
            return
        if (older := self._server_of.get(event.peer)) is not None:
            self._drop(older)
        server = Server(event.stream, event.peer, self._around, self._library)
        self._servers[event.stream] = self._server_of[event.peer] = server
        server.task = self._around.supervisor.spawn(server.run(), f"sync stream from {event.peer}")

    def on_frames(self, event: FramesReceived) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            server.on_frames(event.frames)
        elif (asker := self._streams.get(event.stream)) is not None:
            asker.on_frames(event.frames)

    def on_writable(self, event: StreamWritable) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            server.on_writable()
        elif (asker := self._streams.get(event.stream)) is not None:
            asker.on_writable()

    def on_closed(self, event: StreamClosed) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            if event.reason in BREACHES:
                self._around.violation(server.peer, event.reason.replace(" ", "_"))
            self._drop(server)
        elif (asker := self._streams.pop(event.stream, None)) is not None:
            if event.reason in BREACHES:
                self._around.violation(asker.peer, event.reason.replace(" ", "_"))
            if asker.stream == event.stream:
                asker.on_closed(event.reason)

    def on_refused(self, event: StreamRefused) -> None:
        """A stream that broke the framing before it said anything was never shown; its peer pays all the same."""
        self._around.violation(event.peer, event.reason.replace(" ", "_"))

    def _drop(self, server: Server) -> None:
        self._servers.pop(server.stream, None)
        if self._server_of.get(server.peer) is server:
            del self._server_of[server.peer]
        server.stop()
