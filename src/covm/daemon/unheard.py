"""Control connections that have not said what they want: each has a deadline, and all together a limit."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENT_MOST = 256
"""Connections that may stand without a whole request: far below the files that a process may have open."""


class Unheard:
    """Connections whose next request has not arrived whole, the oldest first.

    Whoever is here after `patience_s` is cut off, so nobody stands here for ever; and whenever someone speaks, the
    oldest make room until `spoken` are left, so that who asks for something is not kept out by who asks for nothing.
    """

    def __init__(self, patience_s: float, *, spoken: int) -> None:
        self._patience_s = patience_s
        self._spoken = spoken
        self._deadlines: dict[H11Protocol, asyncio.TimerHandle] = {}

    def add(self, connection: H11Protocol) -> None:
        """Awaits a request of this connection, if it does not already."""
        if connection in self._deadlines or connection.transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        self._deadlines[connection] = loop.call_later(self._patience_s, self._cut, connection)
        self._trim(SILENT_MOST, connection)

    def remove(self, connection: H11Protocol) -> None:
        """Its request has arrived, or the connection is gone."""
        deadline = self._deadlines.pop(connection, None)
        if deadline is not None:
            deadline.cancel()

    def make_room(self, speaker: H11Protocol) -> None:
        """Cuts the oldest off, but not the speaker, until there is room for those who speak."""
        self._trim(self._spoken, speaker)

    def _trim(self, most: int, spared: H11Protocol) -> None:
        surplus = len(self._deadlines) - most
        if surplus > 0:
            others = [connection for connection in self._deadlines if connection is not spared]
            for connection in others[:surplus]:
                self._cut(connection)

    def _cut(self, connection: H11Protocol) -> None:
        self.remove(connection)
        # The server counts it until the loop has told of the loss, which is too late for who speaks now.
        connection.connections.discard(connection)
        connection.transport.abort()
