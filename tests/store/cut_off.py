"""A cable between a store and its server that a test cuts: now, or at the next COMMIT, before or after it arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Literal

Cut = Literal["before commit", "after commit"]

GOODBYE = b"X\0\0\0\4"
"""What a store says last: the protocol's Terminate."""


class Cable:
    """Listens on loopback and carries bytes to the server, connection by connection."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: Cut | None = None
        self.is_plugged = True
        self.cuts = 0
        self.is_silent = False
        """Whether nothing arrives any more, and nobody is told."""
        self.holds_ends = False
        """Whether the server does not notice that a connection was ended, as while it has much to do."""
        self._silenced: socket.socket | None = None
        self._answered = threading.Event()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def unplug(self) -> None:
        """Ends every connection; new ones are refused until `plug`."""
        self.is_plugged = False
        for each in list(self._open):
            self._end(each)

    def plug(self) -> None:
        self.is_plugged = True

    def close(self) -> None:
        self._end(self._listener)
        self.unplug()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._server_port if self.is_plugged else 1))
                except ConnectionRefusedError:
                    near.close()
                    continue
                self._open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target, source is near), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_from_store: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_from_store and self.cut is not None and b"COMMIT" in data:
                    self._cut_at_commit(target, data)
                    break
                if source is self._silenced:
                    self._answered.set()
                    break
                if not self.is_silent:
                    target.sendall(data.removesuffix(GOODBYE) if is_from_store and self.holds_ends else data)
        self._end(source)
        if not (is_from_store and self.holds_ends):
            self._end(target)

    def _cut_at_commit(self, server: socket.socket, data: bytes) -> None:
        cut, self.cut = self.cut, None
        self.cuts += 1
        if cut == "after commit":
            self._silenced = server
            server.sendall(data)
            assert self._answered.wait(30)

    def _end(self, each: socket.socket) -> None:
        self._open.discard(each)
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
