"""Framed streams with byte credit over a simulated connection.

A stream is named by a key on its connection (the dialer's are even, the listener's odd) and by an id at each node. A
writer has a local buffer and a window; what the reader has been handed and not released holds the window shut.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from covm.federation.errors import MessageTooLarge, NetworkError, PeerNotConnected
from covm.federation.network.interface import (
    FramesReceived,
    NetworkEvent,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.network.simulated import limits
from covm.federation.network.simulated.packets import (
    Packet,
    StreamAccepted,
    StreamCredit,
    StreamEnded,
    StreamFrames,
    StreamOpen,
)


@dataclass(frozen=True, slots=True)
class StreamName:
    """Which stream it is: at this node, on its connection, and between whom."""

    number: int
    key: int
    peer: str
    protocol: str
    inbound: bool


class SimulatedStream:
    """One end of a stream that stands.

    One that the peer opened is shown to the handler with its first frame, not before: until then it is `hidden`.
    """

    def __init__(
        self,
        name: StreamName,
        send: Callable[[Packet], None],
        emit: Callable[[NetworkEvent], None],
        ended: Callable[[SimulatedStream], None],
    ) -> None:
        self.name = name
        self._send = send
        self._emit = emit
        self._ended = ended
        self._buffer: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._window_bytes = limits.STREAM_BUFFER_BYTES
        self._unreleased_bytes = 0
        self._owes_writable = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._over = False
        self.hidden = name.inbound
        if self.hidden:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limits.FIRST_FRAME_DEADLINE_S, self._refuse, "no frame in time")

    @property
    def is_open(self) -> bool:
        return not self._over and not self._closing

    def try_send(self, frames: Sequence[bytes]) -> bool:
        """Takes all frames, or none when the local buffer is full."""
        if not self.is_open:
            raise PeerNotConnected(self.name.peer, "the stream was closed")
        for frame in frames:
            _check_frame(frame)
        batch_bytes = sum(map(len, frames))
        if batch_bytes > limits.STREAM_BATCH_BYTES:
            raise MessageTooLarge("a batch of stream frames", batch_bytes, limits.STREAM_BATCH_BYTES)
        if self._buffered_bytes >= limits.STREAM_BUFFER_BYTES:
            self._owes_writable = True
            return False
        self._buffer.extend(frames)
        self._buffered_bytes += batch_bytes
        self._pump()
        return True

    def show(self) -> None:
        """The peer has spoken on the stream it opened: from now on the handler knows of it."""
        self.hidden = False
        self._stop_timer()
        self._emit(StreamOpened(self.name.number, self.name.peer, self.name.protocol))

    def receive(self, frames: tuple[bytes, ...]) -> None:
        """Hands frames over; they hold the peer's window shut until they are released."""
        if not self._over:
            self._unreleased_bytes += sum(map(len, frames))
            self._emit(FramesReceived(self.name.number, self.name.peer, list(frames)))

    def release(self, size_bytes: int) -> None:
        """Tells the writer that it may send as much more; never more than was handed out."""
        released = min(size_bytes, self._unreleased_bytes)
        if released > 0 and not self._over:
            self._unreleased_bytes -= released
            self._send(StreamCredit(self.name.key, released))

    def credit(self, size_bytes: int) -> None:
        self._window_bytes += size_bytes
        self._pump()

    def close(self) -> None:
        """Sends what is queued, then ends; at the latest after the deadline."""
        if self.is_open:
            self._closing = True
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(
                limits.STREAM_CLOSE_DEADLINE_S, self.reset, "close timed out", "reset by peer"
            )
            self._pump()

    def reset(self, reason: str, told_peer: str) -> None:
        """Ends at once; the other side hears its own reason."""
        if not self._over:
            self._send(StreamEnded(self.name.key, told_peer))
            self.end(reason)

    def end(self, reason: str) -> None:
        """The stream is over; said once, and only of a stream that was shown."""
        if self._over:
            return
        self._over = True
        self._stop_timer()
        self._buffer.clear()
        self._ended(self)
        if not self.hidden:
            self._emit(StreamClosed(self.name.number, reason))

    def _refuse(self, reason: str) -> None:
        self._emit(StreamRefused(self.name.peer, self.name.protocol, reason))
        self.reset(reason, "reset by peer")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pump(self) -> None:
        """Writes what the window allows: any frame fits while some of it is left."""
        ready = []
        while self._buffer and self._window_bytes > 0:
            frame = self._buffer.popleft()
            self._window_bytes -= len(frame)
            self._buffered_bytes -= len(frame)
            ready.append(frame)
        if ready:
            self._send(StreamFrames(self.name.key, tuple(ready)))
        if self._owes_writable and self._buffered_bytes < limits.STREAM_BUFFER_BYTES // 2:
            self._owes_writable = False
            self._emit(StreamWritable(self.name.number))
        if self._closing and not self._buffer:
            self.reset("closed", "closed by peer")


def _check_frame(frame: bytes) -> None:
    if not frame:
        raise ValueError("a frame has at least one byte")
    if len(frame) > limits.STREAM_FRAME_BYTES:
        raise MessageTooLarge("a stream frame", len(frame), limits.STREAM_FRAME_BYTES)


class Owner(Protocol):
    """What a connection's streams need of their node."""

    @property
    def protocols(self) -> tuple[str, ...]: ...

    def emit(self, event: NetworkEvent) -> None: ...

    def next_stream_number(self) -> int: ...

    def register_stream(self, stream: SimulatedStream) -> None:
        """Finds the stream by its number from now on."""

    def forget_stream(self, stream: SimulatedStream) -> None: ...

    def find_stream(self, peer: str, protocol: str, *, inbound: bool) -> SimulatedStream | None:
        """The one stream of this protocol from or to the peer that the handler knows, on whichever connection."""


class ConnectionStreams:
    """The streams of one end of a connection."""

    def __init__(self, owner: Owner, peer: str, outbound: bool, send: Callable[[Packet], None]) -> None:
        self._owner = owner
        self._peer = peer
        self._send = send
        self._next_key = 0 if outbound else 1
        self._opening: dict[int, tuple[str, asyncio.Future[int]]] = {}
        self._streams: dict[int, SimulatedStream] = {}

    def open(self, protocol: str) -> asyncio.Future[int]:
        """Asks for a stream; resolves to its number. Raises `NetworkError` when there is one already."""
        opening = any(asked == protocol for asked, _ in self._opening.values())
        if opening or self._owner.find_stream(self._peer, protocol, inbound=False) is not None:
            raise not_opened(self._peer, protocol, "already open")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._opening[self._next_key] = (protocol, future)
        self._send(StreamOpen(self._next_key, protocol))
        self._next_key += 2
        return future

    def receive(self, packet: Packet) -> None:
        """Takes a packet of a stream; what is for a stream that ended here in the meantime is dropped."""
        match packet:
            case StreamOpen(key, protocol):
                self._accept(key, protocol)
            case StreamAccepted(key):
                self._opened(key)
            case StreamFrames(key, frames) if key in self._streams:
                self._read(self._streams[key], frames)
            case StreamCredit(key, size_bytes) if key in self._streams:
                self._streams[key].credit(size_bytes)
            case StreamEnded(key, reason) if key in self._streams:
                self._streams[key].end(reason)
            case StreamEnded(key, reason) if key in self._opening:
                protocol, future = self._opening.pop(key)
                if not future.done():
                    future.set_exception(not_opened(self._peer, protocol, reason))

    def end_all(self, reason: str) -> None:
        """The connection is gone, and every stream with it."""
        for stream in list(self._streams.values()):
            stream.end(reason)
        for _, future in self._opening.values():
            if not future.done():
                future.set_exception(PeerNotConnected(self._peer, reason))
        self._opening.clear()

    def _accept(self, key: int, protocol: str) -> None:
        if protocol not in self._owner.protocols:
            self._send(StreamEnded(key, "protocol not supported"))
            return
        if sum(stream.name.inbound for stream in self._streams.values()) >= limits.STREAMS_PER_CONNECTION:
            self._send(StreamEnded(key, "reset by peer"))
            return
        self._send(StreamAccepted(key))
        self._stand(key, protocol, inbound=True)

    def _read(self, stream: SimulatedStream, frames: tuple[bytes, ...]) -> None:
        if stream.hidden:
            # Of two streams for one protocol, the one that spoke last is right.
            older = self._owner.find_stream(self._peer, stream.name.protocol, inbound=True)
            if older is not None:
                older.reset("replaced", "reset by peer")
            stream.show()
        stream.receive(frames)

    def _opened(self, key: int) -> None:
        protocol, future = self._opening.pop(key)
        if future.done():  # whoever asked has given up
            self._send(StreamEnded(key, "reset by peer"))
        else:
            future.set_result(self._stand(key, protocol, inbound=False))

    def _stand(self, key: int, protocol: str, *, inbound: bool) -> int:
        def ended(stream: SimulatedStream) -> None:
            del self._streams[key]
            self._owner.forget_stream(stream)

        name = StreamName(self._owner.next_stream_number(), key, self._peer, protocol, inbound)
        stream = SimulatedStream(name, self._send, self._owner.emit, ended)
        self._streams[key] = stream
        self._owner.register_stream(stream)
        return name.number


def not_opened(peer: str, protocol: str, reason: str) -> NetworkError:
    """The error of a stream that never stood."""
    return NetworkError(f"no {protocol} stream to {peer}: {reason}")
