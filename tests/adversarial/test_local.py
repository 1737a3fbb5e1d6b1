"""THREATS.md, rows *local*: other users of the machine, hostile text, and secrets where they do not belong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.cli.conftest import bakery, farm, folder, pair, shop, start
from tests.cli.processes import Node, covm

from covm.daemon import failures
from covm.daemon.credentials import is_own_user, peer_uid
from covm.daemon.server import ControlServer

__all__ = ["bakery", "farm", "folder", "pair", "shop", "start"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
NOBODY = 65534

BAN = b'{"peer": "12D3KooWFarm", "duration_ms": %s}'
WHOLE = b"POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
UNFINISHED = b"POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202eevil\u2066\r\n../../etc<b>"
"""Clears the screen, sets the title, turns the text around, begins a line of its own."""

ASK = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[2])
    s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)
"""


def as_user(uid: int, path: Path) -> subprocess.CompletedProcess[bytes]:
    """A request of another user to a control socket."""
    command = [sys.executable, "-I", "-c", ASK, str(uid), str(path)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


@pytest.fixture
def opened_home() -> Iterator[Path]:
    """A folder that someone has opened to everybody by mistake."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def answered(path: Path, accepts: Callable[[int], bool]) -> bytes:
    """What another user gets from a server whose home and socket are open to everybody."""
    app = Starlette(routes=[Route("/v1/status", lambda request: PlainTextResponse("the node's secrets"))])
    async with ControlServer(app, path, accepts=accepts):
        await asyncio.to_thread(path.chmod, 0o666)
        return (await asyncio.to_thread(as_user, NOBODY, path)).stdout


# --- another local user opens the control socket


def test_the_socket_and_its_home_are_the_owners_alone(shop: Node) -> None:
    assert shop.home.stat().st_mode & 0o777 == 0o700
    assert (shop.home / "control.sock").stat().st_mode & 0o777 == 0o600


@needs_root
def test_another_user_cannot_even_reach_the_socket(shop: Node) -> None:
    outcome = as_user(NOBODY, shop.home / "control.sock")
    assert outcome.returncode != 0
    assert b"PermissionError" in outcome.stderr
    assert outcome.stdout == b""


@needs_root
async def test_another_user_is_refused_by_its_credentials_when_modes_have_been_opened(opened_home: Path) -> None:
    answer = await answered(opened_home / "control.sock", is_own_user)
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"the node's secrets" not in answer
    assert b"other_user" in answer


@needs_root
async def test_without_the_check_of_credentials_the_other_user_would_be_answered(opened_home: Path) -> None:
    answer = await answered(opened_home / "control.sock", lambda uid: True)
    assert b"the node's secrets" in answer


def test_the_kernel_tells_who_connected() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_uid(ours) == os.geteuid()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_the_socket_is_closed_to_others_whatever_the_umask(folder: Path, mask: int) -> None:
    former = os.umask(mask)
    try:
        async with ControlServer(Starlette(), folder / "control.sock"):
            assert (folder / "control.sock").stat().st_mode & 0o777 == 0o600
            assert os.umask(mask) == mask
    finally:
        os.umask(former)


# --- a web page in the operator's browser; requests out of bounds


def raw(node: Node, request: bytes) -> bytes:
    """Bytes to the control socket, and all that comes back."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(30)
        control.connect(str(node.home / "control.sock"))
        try:
            control.sendall(request)
            while data := control.recv(65536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has hung up on what is out of bounds
    return answer


@pytest.mark.parametrize("host", [b"evil.example", b"localhost.evil.example", b"localhost:80", b""])
def test_a_request_meant_for_another_host_is_refused(shop: Node, host: bytes) -> None:
    answer = raw(shop, b"GET /v1/status HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"foreign_host" in answer
    assert shop.peer_id.encode() not in answer


def test_the_nodes_own_host_is_answered(shop: Node) -> None:
    answer = raw(shop, b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert shop.peer_id.encode() in answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_of_any_size_is_read_no_further_than_the_limit(shop: Node, chunked: bool) -> None:
    size = 8 * 1024 * 1024
    head = b"POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if chunked:
        body = b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
        answer = raw(shop, head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    else:
        answer = raw(shop, head + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    assert answer == b"" or b"request_too_large" in answer
    assert shop.ask("status")["peer_id"] == shop.peer_id


@pytest.mark.parametrize(
    ("request_line", "body", "code"),
    [
        (b"GET /v1/../identity.key", b"", b"no_such_request"),
        (b"GET /v2/status", b"", b"no_such_request"),
        (b"DELETE /v1/status", b"", b"no_such_request"),
        (b"POST /v1/publish", b"not json", b"bad_request"),
        (b"POST /v1/publish", b'{"type": 5, "payload": 1}', b"bad_request"),
        (b"POST /v1/publish", b'{"version": 2, "type": "a.b", "payload": 1}', b"other_version"),
        (b"POST /v1/publish", b"[" * 100_000, b"bad_request"),
        (b"POST /v1/publish", b'{"type": "shop.\xff", "payload": 1}', b"bad_request"),
        (b"POST /v1/publish", b'{"type": "a.b", "payload": {"\xff": 1}}', b"bad_request"),
        (b"POST /v1/publish", b'{"type": "a.b", "payload": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"bad_request"),
        (b"POST /v1/publish", b'{"type": "a.b", "payload": ' + b"[" * 900 + b"]" * 900 + b"}", b"invalid"),
        (b"POST /v1/send", b'{"peer": "x", "type": "a.b", "payload": 1, "wait": "ever"}', b"bad_request"),
        (b"POST /v1/send", b'{"peer": "x", "type": "a.b", "payload": 1, "timeout_ms": 0}', b"bad_request"),
        (b"POST /v1/send", b'{"peer": "x", "type": "a.b", "payload": 1, "timeout_ms": -5}', b"bad_request"),
        (b"POST /v1/send", b'{"peer": "x", "type": "a.b", "payload": 1, "timeout_ms": 100000000000}', b"bad_request"),
        *((b"POST /v1/ban", BAN % length, b"bad_request") for length in (b"0", b"-5", b"1e21", b"1" + b"0" * 18)),
        (b"GET /v1/gossip-log?limit=-1", b"", b"bad_limit"),
        (b"GET /v1/gossip-log?limit=99999999999999999999", b"", b"bad_limit"),
        (b"GET /v1/gossip-log?limit=000000000999999", b"", b"bad_limit"),
        (b"GET /v1/gossip-log?limit=" + b"0" * 5000, b"", b"bad_limit"),
        (b"GET /v1/gossip-log?type=%ff", b"", b"invalid"),
    ],
)
def test_a_request_that_is_none_is_told_so_and_the_node_goes_on(
    shop: Node, request_line: bytes, body: bytes, code: bytes
) -> None:
    head = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = raw(shop, request_line + head + body)
    assert answer.startswith(b"HTTP/1.1 40")
    assert code in answer
    assert shop.ask("status")["peer_id"] == shop.peer_id
    assert "Traceback" not in shop.log


def test_who_hangs_up_amid_a_request_leaves_no_fault_in_the_log(shop: Node) -> None:
    with connection(shop.home / "control.sock") as control:
        control.sendall(UNFINISHED)
    assert shop.ask("status")["peer_id"] == shop.peer_id
    assert "Traceback" not in shop.log


# --- connections that ask for nothing


def connection(path: Path) -> socket.socket:
    """A connection to a control socket on which nothing has been said yet."""
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(30)
    control.connect(str(path))
    return control


@pytest.mark.parametrize("begun", [b"", b"GET /v1/st", UNFINISHED])
def test_connections_that_never_finish_a_request_keep_nobody_out(shop: Node, begun: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            control = stack.enter_context(connection(shop.home / "control.sock"))
            with contextlib.suppress(BrokenPipeError):
                control.sendall(begun)
        assert shop.ask("status")["peer_id"] == shop.peer_id
    assert "Traceback" not in shop.log


@pytest.mark.parametrize("begun", [b"", b"GET /v1/st", UNFINISHED, WHOLE + b"GET"])
async def test_a_connection_whose_request_never_ends_is_closed(folder: Path, begun: bytes) -> None:
    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    app = Starlette(routes=[Route("/v1/publish", read, methods=["POST"])], exception_handlers=failures.HANDLERS)
    async with ControlServer(app, folder / "control.sock", patience_s=0.2):
        reader, writer = await asyncio.open_unix_connection(str(folder / "control.sock"))
        writer.write(begun)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 30)
        writer.close()


async def test_an_answer_may_take_longer_than_its_request_was_allowed_to(folder: Path) -> None:
    async def slow(_request: Request) -> PlainTextResponse:
        await asyncio.sleep(0.3)
        return PlainTextResponse("risen")

    app = Starlette(routes=[Route("/v1/publish", slow, methods=["POST"])])
    async with ControlServer(app, folder / "control.sock", patience_s=0.1):
        reader, writer = await asyncio.open_unix_connection(str(folder / "control.sock"))
        writer.write(WHOLE)
        assert b"risen" in await asyncio.wait_for(reader.readuntil(b"risen"), 30)
        writer.close()


# --- names, messages and errors with terminal escapes, path traversal, HTML, right-to-left marks


def harmless(text: str) -> bool:
    """Whether a terminal shows every line of the text as what it is."""
    return all(line.isprintable() for line in text.splitlines())


def test_a_hostile_message_is_shown_escaped(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    bakery.ask("send-msg", farm.peer_id, "private.message", HOSTILE, "--wait", "handled")
    for command in (["messages"], ["gossip-log"], ["stats"], ["peers"]):
        outcome = farm.run(*command)
        assert harmless(outcome.out), command
        assert harmless(farm.run(*command, "--json").out), command
    assert "\\x1b[2J" in farm.run("messages").out
    [message] = farm.ask("messages")["messages"]
    assert message["payload"] == HOSTILE


def test_hostile_words_come_back_escaped_in_errors(shop: Node) -> None:
    for command in (
        ["disconnect", HOSTILE],
        ["connect", "/ip4/" + HOSTILE],
        ["publish", HOSTILE, "rye"],
        ["ban", HOSTILE, "--for", "5m"],
        ["gossip-log", "--type", HOSTILE],
        [HOSTILE],
        ["send-msg", "x", "a.b", "hello", "--timeout", HOSTILE],
    ):
        outcome = shop.run(*command)
        assert outcome.code in (2, 4), (command, outcome)
        assert len(outcome.err.splitlines()) == 1, outcome
        assert harmless(outcome.err), outcome
        assert harmless(shop.run(command[0], "--json", *command[1:]).out)


def test_the_log_stays_one_harmless_line_a_record(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    bakery.run("send-msg", farm.peer_id, "governance.proposal", json.dumps({"title": HOSTILE}))
    bakery.run("connect", "/ip4/" + HOSTILE)
    bakery.run("ban", farm.peer_id, "--reason", HOSTILE)
    for node in pair:
        node.ask("stop")
        assert harmless(node.log)
        strays = [line for line in node.log.splitlines() if line[:2] != "20" and "had no key" not in line]
        assert strays == []


# --- secrets in logs, errors, repr, JSON


def secrets_in(key_file: bytes) -> list[bytes]:
    """The key's seed as its file spells it and as bytes, whole and in halves."""
    [seed] = [line.removeprefix(b"seed ") for line in key_file.splitlines() if line.startswith(b"seed ")]
    raw = bytes.fromhex(seed.decode())
    assert len(raw) == 32
    return [seed, seed[:32], seed[32:], raw, raw[:16], raw[16:]]


def spellings(secret: bytes) -> list[bytes]:
    """How a secret may be written down."""
    return [secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"="), repr(secret)[2:-1].encode()]


def test_the_key_is_nowhere_but_in_its_file(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    key_file = (bakery.home / "identity.key").read_bytes()
    bakery.run("publish", "shop.prices", "3.5")
    said = b"".join(
        (outcome.out + outcome.err).encode()
        for command in ("status", "peers", "stats", "types", "gossip-log", "messages", "bans")
        for outcome in (bakery.run(command), bakery.run(command, "--json"), farm.run(command, "--json"))
    )
    bakery.ask("stop")
    said += bakery.log.encode() + farm.log.encode() + covm("config", "show", "--home", bakery.home).out.encode()
    others = [file for file in bakery.home.iterdir() if file.is_file() and file.name != "identity.key"]
    said += b"".join(file.read_bytes() for file in others)
    assert bakery.peer_id.encode() in said
    for secret in secrets_in(key_file):
        assert not [spelling for spelling in spellings(secret) if spelling in said]
