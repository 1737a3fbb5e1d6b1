"""The control server: HTTP on a Unix socket that only the node's own user can use.

Three fences stand one behind the other: the home is 0700, the socket 0600, and every connection is asked for the user
behind it, so that a home opened by mistake opens nothing. The caller holds the home's lock, so a socket that lies
there was left by a process that was killed, and is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import h11
import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from covm.control import schema
from covm.control.home import UnusableHome
from covm.daemon.credentials import is_own_user, peer_uid
from covm.daemon.unheard import Unheard

logger = logging.getLogger("covm.daemon")

CONNECTIONS = 64
"""Requests at once: a person with some followers open; more are told to come back."""

REQUEST_PATIENCE_S = 10.0
"""How long a request may take to arrive whole, counted from the connection or the answer before it."""

DRAIN_S = 2
"""How long requests under way may go on once the node has stopped."""

PATIENCE_S = 1.0
"""How long someone who is refused may take to say something before the connection is cut."""

_SENTENCE = msgspec.json.encode(
    schema.Failure(
        error=schema.Problem(
            kind="refused",
            code="other_user",
            message="this node belongs to another user; run the command as that user",
        )
    )
)

REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SENTENCE), _SENTENCE)
)


class ControlServer:
    """Serves `app` at `path` inside `async with`. `accepts` decides by user id who is answered.

    A request that has not arrived whole after `patience_s` is cut off.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: Path,
        *,
        accepts: Callable[[int], bool] = is_own_user,
        patience_s: float = REQUEST_PATIENCE_S,
    ) -> None:
        self._app = app
        self._path = path
        self._accepts = accepts
        self._patience_s = patience_s

    async def __aenter__(self) -> Self:
        self._socket = bind(self._path)
        self._inode = self._path.stat().st_ino
        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=_protocol(self._accepts, self._patience_s),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="control server")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hide()
        self._server.should_exit = True
        await self._serving
        self._socket.close()

    def hide(self) -> None:
        """Takes the socket's name away: nobody new comes, who is connected stays. The home's lock must be held."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, 0600 from its first moment. Raises `UnusableHome` when something else is there."""
    _remove_stale(path)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former_mask = os.umask(0o177)
    try:
        control.bind(str(path))
    except OSError as error:
        control.close()
        raise UnusableHome(f"the control socket {path} cannot be made: {error.strerror}; check the folder") from error
    finally:
        os.umask(former_mask)
    path.chmod(0o600)
    control.listen(CONNECTIONS)
    control.setblocking(False)
    return control


def _remove_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise UnusableHome(f"{path} is in the way and is not a socket; move it away")
    logger.warning("replacing the control socket of a process that was killed")
    path.unlink()


class _Server(uvicorn.Server):
    """uvicorn inside our loop; signals are the process's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _protocol(accepts: Callable[[int], bool], patience_s: float) -> type[asyncio.Protocol]:
    unheard = Unheard(patience_s, spoken=CONNECTIONS // 2)

    class OwnUserOnly(H11Protocol):
        """HTTP/1.1 for those whom `accepts`; for anyone else not a byte of what they say is looked at."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            uid = peer_uid(transport.get_extra_info("socket"))
            if accepts(uid):
                super().connection_made(transport)
                unheard.add(self)
            else:
                logger.warning("refused a control connection of user %d", uid)
                transport.set_protocol(_TurnedAway(transport))

        def data_received(self, data: bytes) -> None:
            unheard.make_room(self)
            super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
                unheard.add(self)
            else:
                unheard.remove(self)

        def connection_lost(self, exc: Exception | None) -> None:
            unheard.remove(self)
            super().connection_lost(exc)

    return OwnUserOnly


class _TurnedAway(asyncio.Protocol):
    """Says one sentence once it is spoken to, so that it is read, and hangs up; at the latest after `PATIENCE_S`."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(PATIENCE_S, transport.abort)

    def data_received(self, _data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(REFUSAL)
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self._deadline.cancel()
