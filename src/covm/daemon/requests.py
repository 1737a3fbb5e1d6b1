"""What every request of the control API needs: reading it, and answering once or line by line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from covm.control import schema
from covm.control.failures import ControlError, Invalid, problem_of
from covm.daemon.node import RunningNode
from covm.federation.errors import FederationError
from covm.federation.wire.names import check_type_name

_Request = TypeVar("_Request", bound=schema.Versioned)
_Line = TypeVar("_Line", bound=schema.Versioned)

LIMIT_DIGITS = 9
"""Digits of a log's limit that are read: more than it may have, and no arithmetic on thousands of them."""


def node_of(request: Request) -> RunningNode:
    """The node that the request is for."""
    node: RunningNode = request.app.state.node
    return node


def since(began_s: float) -> float:
    """Milliseconds since then, on the monotonic clock."""
    return round((time.monotonic() - began_s) * 1000, 3)


def answer(said: schema.Versioned) -> Response:
    """The one answer to a request."""
    return Response(msgspec.json.encode(said), media_type="application/json")


def answer_lines(lines: AsyncIterator[schema.Versioned]) -> Response:
    """An answer that goes on: each line when it comes, and the failure that ends it, if one does."""
    return StreamingResponse(_encoded(lines), media_type="application/x-ndjson")


async def read(request: Request, form: type[_Request]) -> _Request:
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


def log_query(request: Request) -> tuple[str | None, int, bool]:
    """Which entries of a log are asked for: of one type, how many at most, and whether what comes too."""
    type_name = request.query_params.get("type")
    follow = request.query_params.get("follow") == "1"
    return check_type_name(type_name) if type_name else None, limit_of(request), follow


def limit_of(request: Request) -> int:
    """How many are asked for at most. Raises `Invalid`."""
    limit = request.query_params.get("limit", str(schema.LIMIT_DEFAULT))
    if not limit.isdecimal() or len(limit) > LIMIT_DIGITS or int(limit) > schema.LIMIT_MOST:
        raise Invalid(f"limit is {limit[:LIMIT_DIGITS]!r}: it must be from 0 to {schema.LIMIT_MOST}", code="bad_limit")
    return int(limit)


async def until(stopping: asyncio.Event, lines: AsyncIterator[_Line]) -> AsyncIterator[_Line]:
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


async def _encoded(lines: AsyncIterator[schema.Versioned]) -> AsyncIterator[bytes]:
    try:
        async for line in lines:
            yield msgspec.json.encode(line) + b"\n"
    except (FederationError, ControlError) as error:
        # The status has gone out with the first line: the failure is a line of its own.
        yield msgspec.json.encode(schema.Failure(error=problem_of(error))) + b"\n"
