"""`ControlClient`: a running node, from another process of the same user.

    client = ControlClient(Path("~/.covm").expanduser())
    client.status().peer_id
    client.publish("governance.proposal", {...}).peers

Every call raises a `ControlError` of `covm.control.failures` with the node's sentence: `NoNode`, `Invalid`,
`NotFound`, `Refused`, `TimedOut`, `Failed`.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from covm.control import schema
from covm.control.failures import KINDS, Failed, Invalid, NoNode, Refused, TimedOut
from covm.control.home import UnusableHome, socket_path

ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
"""The largest answer that is read: all messages that a node holds, with room for JSON's escapes."""

CALL_TIMEOUT_S = 10.0
"""How long a node may take for what it only has to look up; it answers in milliseconds."""

CONNECT_TIMEOUT_S = 120.0
"""How long connecting may take: the configured retries with their backoff (31 s by default) and each dial."""

STOP_TIMEOUT_S = 60.0
"""How long a node may take to stop: connections are told, ports watched until they are free."""

SETTLE_S = 5.0
"""What the client grants over the time that the node itself waits, so that the node's own sentence arrives."""

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


class ControlClient:
    """Commands to the node that runs on `home`. Light: no connection is kept between calls."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def status(self) -> schema.Status:
        """Who the node is and how it is."""
        return self._ask(schema.Status, "GET", "/v1/status")

    def peers(self) -> list[schema.Peer]:
        """All peers that the node knows."""
        return self._ask(schema.Peers, "GET", "/v1/peers").peers

    def connect(self, target: str) -> schema.Connected:
        """Connects to a multiaddr or a known peer; returns when both sides are open."""
        return self._ask(
            schema.Connected, "POST", "/v1/connect", schema.Connect(target=target), timeout_s=CONNECT_TIMEOUT_S
        )

    def disconnect(self, peer: str) -> schema.Done:
        """Closes every connection to the peer."""
        return self._ask(schema.Done, "POST", "/v1/disconnect", schema.OnPeer(peer=peer))

    def ban(self, peer: str, duration_ms: int | None, reason: str) -> schema.Done:
        """Bans the peer, for a time or until it is lifted."""
        request = schema.BanPeer(peer=peer, duration_ms=duration_ms, reason=reason)
        return self._ask(schema.Done, "POST", "/v1/ban", request)

    def unban(self, peer: str) -> schema.Done:
        """Lifts a ban."""
        return self._ask(schema.Done, "POST", "/v1/unban", schema.OnPeer(peer=peer))

    def bans(self) -> list[schema.Ban]:
        """All bans that stand."""
        return self._ask(schema.Bans, "GET", "/v1/bans").bans

    def publish(self, type_name: str, payload: Any) -> schema.Published:
        """Publishes to the whole federation."""
        return self._ask(schema.Published, "POST", "/v1/publish", schema.Publish(type=type_name, payload=payload))

    def send(
        self, peer: str, type_name: str, payload: Any, *, wait: Literal["stored", "handled"], timeout_ms: int
    ) -> schema.Sent:
        """Sends to one peer and waits until it has stored or handled the message. Raises `TimedOut`, `Refused`."""
        request = schema.Send(peer=peer, type=type_name, payload=payload, wait=wait, timeout_ms=timeout_ms)
        return self._ask(schema.Sent, "POST", "/v1/send", request, timeout_s=timeout_ms / 1000 + SETTLE_S)

    def gossip_log(self, type_name: str | None, limit: int) -> list[schema.GossipEntry]:
        """The newest entries of the gossip log, the oldest of them first."""
        return self._ask(schema.GossipLog, "GET", _log_path("gossip-log", type_name, limit)).entries

    def follow_gossip_log(self, type_name: str | None, limit: int) -> Iterator[schema.GossipEntry]:
        """The newest `limit` entries, then each as it is made, until the node stops."""
        for line in self._lines(schema.GossipLine, "GET", _log_path("gossip-log", type_name, limit, follow=True)):
            yield line.entry

    def messages(self, type_name: str | None, limit: int) -> schema.Messages:
        """The newest messages that the node holds, the oldest of them first."""
        return self._ask(schema.Messages, "GET", _log_path("messages", type_name, limit))

    def follow_messages(
        self, type_name: str | None, limit: int, *, silence_s: float | None = None
    ) -> Iterator[schema.MessageLine]:
        """The newest `limit` messages, then each as it arrives, until the node stops.

        Raises `TimedOut` when nothing arrives for `silence_s`.
        """
        path = _log_path("messages", type_name, limit, follow=True)
        yield from self._lines(schema.MessageLine, "GET", path, silence_s=silence_s)

    def stats(self) -> dict[str, Any]:
        """The node's counters."""
        return self._ask(schema.Stats, "GET", "/v1/stats").stats

    def types(self) -> schema.Types:
        """The message types that the node knows."""
        return self._ask(schema.Types, "GET", "/v1/types")

    def stop(self) -> int:
        """Stops the node and returns its process id once ports and home are free and the process is ending."""
        return self.begin_stop()()

    def begin_stop(self) -> Callable[[], int]:
        """Tells the node to stop; what is returned waits for it, as `stop` does. For stopping several at once."""
        states = self._lines(schema.Stopping, "POST", "/v1/stop", silence_s=STOP_TIMEOUT_S)
        begun = next(states, None)

        def wait() -> int:
            last = list(states)[-1:]
            if begun is None or not last or last[0].state != "stopped":
                raise Failed(f"the node on {self.home} ended before it had stopped in order; see its log")
            return begun.pid

        return wait

    def _ask(
        self,
        answer: type[_Answer],
        method: str,
        path: str,
        request: schema.Versioned | None = None,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> _Answer:
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

    def _lines(
        self, line: type[_Answer], method: str, path: str, *, silence_s: float | None = None
    ) -> Iterator[_Answer]:
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


def _log_path(log: str, type_name: str | None, limit: int, *, follow: bool = False) -> str:
    query = {"limit": str(limit)}
    if type_name:
        query["type"] = type_name
    if follow:
        query["follow"] = "1"
    return f"/v1/{log}?{urlencode(query)}"


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
