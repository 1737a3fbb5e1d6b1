"""How a request reaches a running node and its answer comes back: HTTP over the node's Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from covm.control import schema
from covm.control.failures import KINDS, Failed, Invalid, NoNode, Refused, TimedOut
from covm.control.home import UnusableHome, socket_path

ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
"""The largest answer that is read: all messages that a node holds, with room for JSON's escapes."""

CALL_TIMEOUT_S = 10.0
"""How long a node may take for what it only has to look up; it answers in milliseconds."""

_Answer = TypeVar("_Answer", bound=schema.Versioned)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__(schema.HOST, timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class Transport:
    """Requests to the node that runs on `home`. Light: no connection is kept between them.

    Each raises a `ControlError` of `covm.control.failures` with the node's sentence.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def ask(
        self,
        answer: type[_Answer],
        method: str,
        path: str,
        request: schema.Versioned | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> _Answer:
        """The one answer to a request; `TimedOut` when the node says nothing for so long."""
        connection, response = self._open(method, path, request, timeout_s)
        try:
            body = response.read(ANSWER_LIMIT_BYTES + 1)
        except TimeoutError as error:
            raise _silent(self.home, timeout_s) from error
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"the node on {self.home} broke off its answer: it may have stopped") from error
        finally:
            connection.close()
        if len(body) > ANSWER_LIMIT_BYTES:
            raise Failed(f"the answer is larger than {ANSWER_LIMIT_BYTES:,} bytes; ask for less with --limit")
        return _decoded(body, answer)

    def lines(
        self, line: type[_Answer], method: str, path: str, *, silence_s: float | None = None
    ) -> Iterator[_Answer]:
        """The lines of an answer that goes on, until the node ends it; `TimedOut` when none comes for so long."""
        connection, response = self._open(method, path, None, silence_s)
        try:
            while text := response.readline(ANSWER_LIMIT_BYTES):
                yield _decoded(text, line)
        except TimeoutError as error:
            raise _silent(self.home, silence_s or 0.0) from error
        except (OSError, http.client.HTTPException):
            return  # the node stopped: that is how following ends
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, request: schema.Versioned | None, timeout_s: float | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        body = None if request is None else _encoded(request)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection = self._connected(timeout_s)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(connection.close)
            try:
                connection.request(method, path, body=body, headers=headers)
                response = connection.getresponse()
                failure = b"" if response.status == http.HTTPStatus.OK else response.read(ANSWER_LIMIT_BYTES)
            except TimeoutError as error:
                raise _silent(self.home, timeout_s or 0.0) from error
            except (OSError, http.client.HTTPException) as error:
                raise Failed(f"the node on {self.home} gave no answer ({error}); it may have stopped") from error
            if failure:
                raise _failure(failure)
            on_failure.pop_all()
        return connection, response

    def _connected(self, timeout_s: float | None) -> http.client.HTTPConnection:
        try:
            connection = _UnixConnection(socket_path(self.home), timeout_s)
            connection.connect()
        except UnusableHome as error:
            raise Invalid(str(error), code="unusable_home") from error
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise NoNode(
                f"no node runs on {self.home}; start one with `covm federation start --home {self.home}`"
            ) from error
        except PermissionError as error:
            raise Refused(
                f"the node on {self.home} belongs to another user; run the command as that user", code="other_user"
            ) from error
        except OSError as error:
            raise Failed(f"the node on {self.home} cannot be reached: {error.strerror or error}") from error
        return connection


def _encoded(request: schema.Versioned) -> bytes:
    body = msgspec.json.encode(request)
    if len(body) > schema.REQUEST_LIMIT_BYTES:
        raise Invalid(
            f"the request has {len(body):,} bytes, a node takes {schema.REQUEST_LIMIT_BYTES:,}; send less",
            code="request_too_large",
        )
    return body


def _decoded(body: bytes, answer: type[_Answer]) -> _Answer:
    try:
        decoded = msgspec.json.decode(body, type=answer)
    except msgspec.ValidationError as error:
        raise _failure(body) from error
    except msgspec.DecodeError as error:
        raise Failed("the node's answer is not JSON: is something else listening on its socket?") from error
    if decoded.version != schema.VERSION:
        raise Failed(
            f"the node speaks version {decoded.version} of the control API, this command version {schema.VERSION}; "
            "use the covm that the node was started with"
        )
    return decoded


def _failure(body: bytes) -> Exception:
    try:
        problem = msgspec.json.decode(body, type=schema.Failure).error
    except msgspec.DecodeError:
        return Failed("the node gave an answer that this covm does not understand; use the covm it was started with")
    error = KINDS.get(problem.kind, Failed)
    return error(problem.message, code=problem.code, details=problem.details)


def _silent(home: Path, waited_s: float) -> TimedOut:
    return TimedOut(f"the node on {home} gave no answer within {waited_s:g} s; see its log, or wait longer")
