"""The control API: one function a request, each a line or two around the service.

What is under way has its functions in `delivery_routes`, files in `file_routes`, the store in `store_routes`,
who is a member in `membership_routes`, shared data in `record_routes`, its files in `record_file_routes`,
forks in `fork_routes`, the way to one peer in `ping_routes`.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from covm.control import schema
from covm.daemon import (
    answers,
    delivery_routes,
    failures,
    file_routes,
    fork_routes,
    membership_routes,
    ping_routes,
    record_file_routes,
    record_routes,
    store_routes,
)
from covm.daemon.node import RunningNode
from covm.daemon.requests import answer, answer_lines, log_query, node_of, read, since, until
from covm.federation.wire.names import check_type_name

FOREIGN_HOST = schema.Problem(
    kind="refused",
    code="foreign_host",
    message=f"the control API answers requests to {schema.HOST!r} alone; this one was meant for someone else",
)


def control_app(node: RunningNode) -> ASGIApp:
    """The API of a running node."""
    routes = [
        Route("/v1/status", status),
        Route("/v1/diagnosis", diagnosis),
        Route("/v1/stop", stop, methods=["POST"]),
        Route("/v1/peers", peers),
        Route("/v1/connect", connect, methods=["POST"]),
        Route("/v1/disconnect", disconnect, methods=["POST"]),
        Route("/v1/bans", bans),
        Route("/v1/ban", ban, methods=["POST"]),
        Route("/v1/unban", unban, methods=["POST"]),
        Route("/v1/publish", publish, methods=["POST"]),
        Route("/v1/gossip-log", gossip_log),
        Route("/v1/messages", messages),
        Route("/v1/stats", stats),
        Route("/v1/types", types),
        *delivery_routes.ROUTES,
        *file_routes.ROUTES,
        *store_routes.ROUTES,
        *membership_routes.ROUTES,
        *ping_routes.ROUTES,
        *record_routes.ROUTES,
        *record_file_routes.ROUTES,
        *fork_routes.ROUTES,
    ]
    app = Starlette(routes=routes, exception_handlers=failures.HANDLERS)
    app.state.node = node
    return _OwnHostOnly(app)


async def status(request: Request) -> Response:
    return answer(answers.status(node_of(request)))


async def diagnosis(request: Request) -> Response:
    return answer(answers.diagnosed(node_of(request)))


async def stop(request: Request) -> Response:
    return answer_lines(_stopping(node_of(request)))


async def peers(request: Request) -> Response:
    node, text = node_of(request), request.query_params.get("peer")
    return answer(await answers.peers(node, None if text is None else node.find(text)))


async def connect(request: Request) -> Response:
    node, asked = node_of(request), await read(request, schema.Connect)
    began = time.monotonic()
    target = asked.target if asked.target.startswith("/") else node.find(asked.target)
    peer = await node.service.connect_peer(target)
    return answer(schema.Connected(peer=peer, name=node.name_of(peer), elapsed_ms=since(began)))


async def disconnect(request: Request) -> Response:
    node, asked = node_of(request), await read(request, schema.OnPeer)
    peer = node.find(asked.peer)
    await node.service.disconnect_peer(peer)
    return answer(schema.Done(peer=peer))


async def bans(request: Request) -> Response:
    return answer(answers.bans(node_of(request).service))


async def ban(request: Request) -> Response:
    node, asked = node_of(request), await read(request, schema.BanPeer)
    peer = node.find_member(asked.peer) if asked.member else node.find_anyone(asked.peer)
    duration = None if asked.duration_ms is None else timedelta(milliseconds=asked.duration_ms)
    await node.service.ban_peer(peer, duration, reason=asked.reason)
    return answer(schema.Done(peer=peer))


async def unban(request: Request) -> Response:
    node, asked = node_of(request), await read(request, schema.OnPeer)
    peer = node.find_banned(asked.peer)
    await node.service.unban_peer(peer)
    return answer(schema.Done(peer=peer))


async def publish(request: Request) -> Response:
    node, asked = node_of(request), await read(request, schema.Publish)
    published = await node.service.publish(asked.type, asked.payload)
    return answer(schema.Published(id=published.id, type=check_type_name(asked.type), peers=published.peers))


async def gossip_log(request: Request) -> Response:
    node, (type_name, limit, follow) = node_of(request), log_query(request)
    if not follow:
        return answer(answers.gossip_log(node, type_name, limit))
    return answer_lines(until(node.stopping, answers.gossip_lines(node, type_name, limit)))


async def messages(request: Request) -> Response:
    node, (type_name, limit, follow) = node_of(request), log_query(request)
    if not follow:
        return answer(await node.received.newest(type_name, limit))
    return answer_lines(until(node.stopping, node.received.follow(type_name, limit)))


async def stats(request: Request) -> Response:
    return answer(schema.Stats(stats=node_of(request).service.stats()))


async def types(request: Request) -> Response:
    return answer(answers.types(node_of(request)))


async def _stopping(node: RunningNode) -> AsyncIterator[schema.Stopping]:
    yield schema.Stopping(state="stopping", pid=os.getpid())
    node.stopping.set()
    await node.stopped.wait()
    yield schema.Stopping(state="stopped", pid=os.getpid())


class _OwnHostOnly:
    """Answers only requests whose `Host` is ours: a request that a browser was tricked into names another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        app = self._app if hosts == [schema.HOST.encode()] else failures.refusal(FOREIGN_HOST)
        await app(scope, receive, send)
