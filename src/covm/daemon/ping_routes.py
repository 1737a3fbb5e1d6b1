"""The control API's part about the way to one peer: the routes of `covm.control.pings`."""

from __future__ import annotations

from statistics import fmean

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import pings
from covm.daemon import answers
from covm.daemon.requests import answer, node_of, read
from covm.federation.errors import PeerNotConnected


async def ping(request: Request) -> Response:
    node, asked = node_of(request), await read(request, pings.Ping)
    peer = node.find(asked.peer)
    try:
        found = await node.service.ping_peer(peer, asked.count)
        times, lost = list(found.round_trips_ms), found.lost
    except PeerNotConnected:
        times, lost = [], 0  # what is known of the peer says why
    (told,) = (await answers.peers(node, peer)).peers
    return answer(
        pings.Pinged(
            peer=told,
            round_trips_ms=times,
            lost=lost,
            min_ms=min(times, default=None),
            avg_ms=fmean(times) if times else None,
            max_ms=max(times, default=None),
        )
    )


ROUTES = [Route("/v1/ping", ping, methods=["POST"])]
