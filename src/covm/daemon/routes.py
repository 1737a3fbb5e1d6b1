"""The control API: one function a request, each a line or two around the service."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from covm.control import schema
from covm.control.failures import Invalid
from covm.daemon import answers, failures
from covm.daemon.node import RunningNode
from covm.federation.wire.names import check_type_name

_Request = TypeVar("_Request", bound=schema.Versioned)
_Line = TypeVar("_Line", bound=schema.Versioned)

LIMIT_DIGITS = 9
"""Digits of a log's limit that are read: more than it may have, and no arithmetic on thousands of them."""

FOREIGN_HOST = schema.Problem(
    kind="refused",
    code="foreign_host",
    message=f"the control API answers requests to {schema.HOST!r} alone; this one was meant for someone else",
)


def control_app(node: RunningNode) -> ASGIApp:
    """The API of a running node."""
    routes = [
        Route("/v1/status", status),
        Route("/v1/stop", stop, methods=["POST"]),
        Route("/v1/peers", peers),
        Route("/v1/connect", connect, methods=["POST"]),
        Route("/v1/disconnect", disconnect, methods=["POST"]),
        Route("/v1/bans", bans),
        Route("/v1/ban", ban, methods=["POST"]),
        Route("/v1/unban", unban, methods=["POST"]),
        Route("/v1/publish", publish, methods=["POST"]),
        Route("/v1/send", send, methods=["POST"]),
        Route("/v1/gossip-log", gossip_log),
        Route("/v1/messages", messages),
        Route("/v1/stats", stats),
        Route("/v1/types", types),
    ]
    app = Starlette(routes=routes, exception_handlers=failures.HANDLERS)
    app.state.node = node
    return _OwnHostOnly(app)


async def status(request: Request) -> Response:
    return _answer(answers.status(_node(request)))


async def stop(request: Request) -> Response:
    return _lines(_stopping(_node(request)))


async def peers(request: Request) -> Response:
    return _answer(answers.peers(_node(request).service))


async def connect(request: Request) -> Response:
    node, asked = _node(request), await _read(request, schema.Connect)
    began = time.monotonic()
    target = asked.target if asked.target.startswith("/") else node.find(asked.target)
    peer = await node.service.connect_peer(target)
    return _answer(schema.Connected(peer=peer, name=node.name_of(peer), elapsed_ms=_since(began)))


async def disconnect(request: Request) -> Response:
    node, asked = _node(request), await _read(request, schema.OnPeer)
    peer = node.find(asked.peer)
    await node.service.disconnect_peer(peer)
    return _answer(schema.Done(peer=peer))


async def bans(request: Request) -> Response:
    return _answer(answers.bans(_node(request).service))


async def ban(request: Request) -> Response:
    node, asked = _node(request), await _read(request, schema.BanPeer)
    peer = node.find_anyone(asked.peer)
    duration = None if asked.duration_ms is None else timedelta(milliseconds=asked.duration_ms)
    await node.service.ban_peer(peer, duration, reason=asked.reason)
    return _answer(schema.Done(peer=peer))


async def unban(request: Request) -> Response:
    node, asked = _node(request), await _read(request, schema.OnPeer)
    peer = node.find_banned(asked.peer)
    await node.service.unban_peer(peer)
    return _answer(schema.Done(peer=peer))


async def publish(request: Request) -> Response:
    node, asked = _node(request), await _read(request, schema.Publish)
    published = await node.service.publish(asked.type, asked.payload)
    return _answer(schema.Published(id=published.id, type=check_type_name(asked.type), peers=published.peers))


async def send(request: Request) -> Response:
    node, asked = _node(request), await _read(request, schema.Send)
    peer = node.find(asked.peer)
    began = time.monotonic()
    receipt = await node.service.send_direct(peer, asked.type, asked.payload)
    timeout = timedelta(milliseconds=asked.timeout_ms)
    await (receipt.stored(timeout=timeout) if asked.wait == "stored" else receipt.handled(timeout=timeout))
    return _answer(answers.sent(receipt, asked.wait, _since(began)))


async def gossip_log(request: Request) -> Response:
    node, (type_name, limit, follow) = _node(request), _log_query(request)
    if not follow:
        return _answer(answers.gossip_log(node, type_name, limit))
    return _lines(_until(node.stopping, answers.gossip_lines(node, type_name, limit)))


async def messages(request: Request) -> Response:
    node, (type_name, limit, follow) = _node(request), _log_query(request)
    if not follow:
        return _answer(node.received.newest(type_name, limit))
    return _lines(_until(node.stopping, node.received.follow(type_name, limit)))


async def stats(request: Request) -> Response:
    return _answer(schema.Stats(stats=_node(request).service.stats()))


async def types(request: Request) -> Response:
    return _answer(answers.types(_node(request)))


def _node(request: Request) -> RunningNode:
    node: RunningNode = request.app.state.node
    return node


def _since(began_s: float) -> float:
    return round((time.monotonic() - began_s) * 1000, 3)


def _answer(answer: schema.Versioned) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _lines(lines: AsyncIterator[schema.Versioned]) -> Response:
    encoded = (msgspec.json.encode(line) + b"\n" async for line in lines)
    return StreamingResponse(encoded, media_type="application/x-ndjson")


async def _read(request: Request, form: type[_Request]) -> _Request:
    """The request's body; read no further than the limit, whatever its header says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > schema.REQUEST_LIMIT_BYTES:
            raise Invalid(
                f"the request has more than {schema.REQUEST_LIMIT_BYTES:,} bytes; send less", code="request_too_large"
            )
    try:
        asked = msgspec.json.decode(bytes(body), type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the request is not what the control API takes: {error}", code="bad_request") from error
    except RecursionError as error:
        why = "the request is nested too deeply to be read; send a flatter one"
        raise Invalid(why, code="bad_request") from error
    if asked.version != schema.VERSION:
        raise Invalid(
            f"the request is of version {asked.version} of the control API, this node speaks {schema.VERSION}; "
            "use the covm that the node was started with",
            code="other_version",
        )
    return asked


def _log_query(request: Request) -> tuple[str | None, int, bool]:
    query = request.query_params
    limit = query.get("limit", str(schema.LIMIT_DEFAULT))
    if not limit.isdecimal() or len(limit) > LIMIT_DIGITS or int(limit) > schema.LIMIT_MOST:
        raise Invalid(f"limit is {limit[:LIMIT_DIGITS]!r}: it must be from 0 to {schema.LIMIT_MOST}", code="bad_limit")
    type_name = query.get("type")
    return check_type_name(type_name) if type_name else None, int(limit), query.get("follow") == "1"


async def _stopping(node: RunningNode) -> AsyncIterator[schema.Stopping]:
    yield schema.Stopping(state="stopping", pid=os.getpid())
    node.stopping.set()
    await node.stopped.wait()
    yield schema.Stopping(state="stopped", pid=os.getpid())


async def _until(stopping: asyncio.Event, lines: AsyncIterator[_Line]) -> AsyncIterator[_Line]:
    """The lines, until the node stops."""
    stop = asyncio.ensure_future(stopping.wait())
    line = asyncio.ensure_future(anext(lines, None))
    try:
        while stop not in (await asyncio.wait({stop, line}, return_when=asyncio.FIRST_COMPLETED))[0]:
            if (ended := line.result()) is None:
                return
            yield ended
            line = asyncio.ensure_future(anext(lines, None))
    finally:
        stop.cancel()
        line.cancel()


class _OwnHostOnly:
    """Answers only requests whose `Host` is ours: a request that a browser was tricked into names another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        app = self._app if hosts == [schema.HOST.encode()] else failures.refusal(FOREIGN_HOST)
        await app(scope, receive, send)
