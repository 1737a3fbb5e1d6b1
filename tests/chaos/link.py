"""A bad line between two programs: a TCP proxy on loopback for each direction of dialling, under the test's control.

It runs on a thread of its own. A fault holds for what is open and for what is opened until the next one; `FINE` mends
the line, for new connections: what was lost on an old one is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

CHUNK_BYTES = 16 * 1024
DELAY_S = 0.05
"""Each chunk waits so long: a line around the world, both ways."""

DRIP_BYTES = 700
"""A chunk of a line that drips: most frames come in several pieces."""

RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing resets."""


class Fault(StrEnum):
    """What a line does to what is sent over it."""

    FINE = "fine"
    DELAY = "delay"
    """Everything comes, later."""
    DRIP = "drip"
    """Everything comes, in small pieces, each with a pause."""
    STALL = "stall"
    """Nothing comes until the line is fine again, then all of it: what TCP makes of a cable that was out."""
    CORRUPT = "corrupt"
    """Some bytes are others than were sent."""
    CUT = "cut"
    """A part of a chunk comes, then the connection ends in order."""
    RESET = "reset"
    """Every connection is reset, and every new one."""
    HALF_OPEN = "half open"
    """The side that dialled is reset; the other is told nothing."""
    BLACKHOLE = "blackhole"
    """Connections open, and nothing ever comes over them."""
    DEAF = "deaf"
    """What the dialling side says arrives; nothing comes back."""
    MUTE = "mute"
    """What the dialling side says is lost; what the other says arrives."""


LOSSY = {Fault.BLACKHOLE: (True, True), Fault.DEAF: (False, True), Fault.MUTE: (True, False)}
"""Whether what goes out, and what comes back, is lost."""


@dataclass(eq=False)
class Connection:
    """One that goes through the proxy: the end that dialled, and the end that listens."""

    dialler: asyncio.StreamWriter
    listener: asyncio.StreamWriter
    is_dead: bool = False
    """It has lost bytes: what comes behind them would make no sense."""


class Link:
    """Use it in `with`. `way(port)` gives a port that leads to this one, through the line."""

    def __init__(self) -> None:
        self.fault = Fault.FINE
        self.opened = 0
        """Connections that came through so far."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="a bad line", daemon=True)
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def way(self, port: int) -> int:
        return self._run(self._listen(port))

    def become(self, fault: Fault) -> None:
        """From now on the line is so."""
        self._run(self._become(fault))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self, port: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(port, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self._servers.append(server)
        ours: int = server.sockets[0].getsockname()[1]
        return ours

    async def _become(self, fault: Fault) -> None:
        self.fault = fault
        self._changed.set()
        self._changed = asyncio.Event()
        for connection in list(self._connections):
            if fault is Fault.RESET:
                _reset(connection.dialler)
                _reset(connection.listener)
            elif fault is Fault.HALF_OPEN:
                connection.is_dead = True
                _reset(connection.dialler)
            elif fault in LOSSY:
                connection.is_dead = True

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._connections:
            _reset(connection.dialler)
            _reset(connection.listener)

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.fault is Fault.RESET:
            _reset(writer)
            return
        try:
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK_BYTES)
        except OSError:
            _reset(writer)  # nobody listens: the other side is down
            return
        self.opened += 1
        connection = Connection(writer, their_writer, is_dead=self.fault in LOSSY)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(connection, reader, their_writer, goes_out=True))
                group.create_task(self._carry(connection, their_reader, writer, goes_out=False))
        finally:
            self._connections.discard(connection)
            _reset(writer)
            _reset(their_writer)

    async def _carry(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, goes_out: bool
    ) -> None:
        """One direction, to its end.

        A dead connection is read, so that whoever writes on it notices nothing, and its end is told to nobody.
        """
        with contextlib.suppress(OSError):
            while chunk := await reader.read(DRIP_BYTES if self.fault is Fault.DRIP else CHUNK_BYTES):
                while self.fault is Fault.STALL:
                    await self._changed.wait()
                if connection.is_dead and not self._still_passes(goes_out=goes_out):
                    continue
                if await self._is_spoilt(connection, chunk, writer, goes_out=goes_out):
                    return
                await writer.drain()
        if not connection.is_dead:
            with contextlib.suppress(OSError):
                writer.write_eof()

    def _still_passes(self, *, goes_out: bool) -> bool:
        lost_out, lost_back = LOSSY.get(self.fault, (True, True))
        return not (lost_out if goes_out else lost_back)

    async def _is_spoilt(
        self, connection: Connection, chunk: bytes, writer: asyncio.StreamWriter, *, goes_out: bool
    ) -> bool:
        """Writes the chunk as the fault has it; True where nothing comes behind it."""
        if self.fault in (Fault.DELAY, Fault.DRIP):
            await asyncio.sleep(DELAY_S if self.fault is Fault.DELAY else DELAY_S / 50)
        if self.fault is Fault.CORRUPT:
            at = len(chunk) // 2
            chunk = chunk[:at] + bytes([chunk[at] ^ 0x20]) + chunk[at + 1 :]
        if self.fault is Fault.CUT:
            writer.write(chunk[: len(chunk) // 2])
            writer.close()
            (connection.dialler if goes_out else connection.listener).close()
            return True
        writer.write(chunk)
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        own: socket.socket = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    writer.transport.abort()
