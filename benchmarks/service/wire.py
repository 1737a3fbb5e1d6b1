"""A wire on loopback between a node and whoever dials it, which can be reset."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

PIECE_BYTES = 64 * 1024

LINGER_NONE = struct.pack("ii", 1, 0)
"""A close that is a reset."""


class Wire:
    """Passes on what comes for the node at `target`, a multiaddr of TCP on loopback."""

    def __init__(self, target: str) -> None:
        _, _, self._host, _, port, *self._rest = target.split("/")
        self._port = int(port)
        self._server: asyncio.Server
        self._ends: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.reset()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    @property
    def address(self) -> str:
        """Where to dial instead."""
        port = self._server.sockets[0].getsockname()[1]
        return "/".join(["", "ip4", "127.0.0.1", "tcp", str(port), *self._rest])

    def reset(self) -> None:
        """Resets every connection that goes through."""
        for end in self._ends:
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
            end.transport.abort()
        self._ends.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            there, onward = await asyncio.open_connection(self._host, self._port)
            self._ends |= {writer, onward}
            await asyncio.gather(self._pass(reader, onward), self._pass(there, writer))
        except asyncio.CancelledError:
            pass  # the wire is taken away
        finally:
            self._passing.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE_BYTES):
                writer.write(piece)
                await writer.drain()
        writer.close()
        self._ends.discard(writer)
