"""The control API about forks."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import forks as said
from covm.daemon.message_ids import find_id
from covm.daemon.node import RunningNode
from covm.daemon.payloads import plain
from covm.daemon.record_file_routes import absolute
from covm.daemon.requests import answer, limit_of, node_of, read
from covm.federation.errors import UnknownFork
from covm.federation.sync.forks import MAX_LISTED, Fork
from covm.federation.wire.member_id import distinct


async def forks(request: Request) -> Response:
    node = node_of(request)
    found = await node.service.forks(limit_of(request))
    return answer(said.Forks(forks=[_fork(node, each) for each in found]))


async def fork(request: Request) -> Response:
    node = node_of(request)
    return answer(said.OneFork(fork=_fork(node, await _found(node, request.path_params["id"]))))


async def export(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.ExportFork)
    path = absolute(asked.path)
    found = await _found(node, asked.id)
    await node.service.export_fork(found.id, path)
    return answer(said.OneFork(fork=_fork(node, found), path=str(path)))


async def _found(node: RunningNode, text: str) -> Fork:
    with suppress(UnknownFork):
        return await node.service.fork(text.strip())  # also one that is beyond those that are listed
    by_id = {distinct(each.id): each for each in await node.service.forks(MAX_LISTED)}
    return by_id[find_id(distinct(text.strip()), by_id, "fork", "forks")]


def _fork(node: RunningNode, fork: Fork) -> said.Fork:
    return said.Fork(
        id=fork.id,
        type=fork.type,
        author=fork.author,
        name=node.name_of(fork.author),
        member=fork.member or "",
        seq=fork.seq,
        records=[
            said.ForkedRecord(
                id=each.id, key=each.key, op=each.op, written_at=each.written_at_ms, value=plain(each.value)
            )
            for each in fork.records
        ],
    )


ROUTES = [
    Route("/v1/forks", forks),
    Route("/v1/forks/export", export, methods=["POST"]),
    Route("/v1/forks/{id}", fork),
]
