"""What goes wrong in a request, as the control API says it: a `Failure` and an HTTP status."""

from __future__ import annotations

import logging

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from covm.control.failures import ControlError, problem_of
from covm.control.schema import Failure, Problem
from covm.federation.errors import FederationError

logger = logging.getLogger("covm.daemon")

STATUS = {"invalid": 400, "refused": 403, "not_found": 404, "timed_out": 504, "failed": 500}
"""The HTTP status of each kind of failure."""


def refusal(problem: Problem) -> Response:
    """The answer that tells a problem."""
    return Response(
        msgspec.json.encode(Failure(error=problem)),
        status_code=STATUS.get(problem.kind, 500),
        media_type="application/json",
    )


async def known(_request: Request, error: Exception) -> Response:
    """Answers an error that the federation or the request itself raised on purpose."""
    return refusal(problem_of(error))


async def wrong_place(request: Request, _error: Exception) -> Response:
    """Answers a path or method that the API does not have."""
    message = f"this node's control API has no {request.method} {request.url.path}; use the covm it was started with"
    return refusal(Problem(kind="not_found", code="no_such_request", message=message))


async def gone(_request: Request, _error: Exception) -> Response:
    """Ends a request whose sender hung up before its end; nobody reads the answer, and it is no fault of ours."""
    return Response(status_code=400)


async def unexpected(_request: Request, _error: Exception) -> Response:
    """Answers a fault of ours; the server logs it with its trace."""
    message = "the node met a fault of its own; its log has the details. The node goes on; please report this"
    return refusal(Problem(kind="failed", code="fault", message=message))


HANDLERS = {
    FederationError: known,
    ControlError: known,
    HTTPException: wrong_place,
    ClientDisconnect: gone,
    Exception: unexpected,
}
"""For Starlette's `exception_handlers`."""
