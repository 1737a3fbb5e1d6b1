"""The control API's requests about files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import delivery
from covm.control.failures import Invalid
from covm.daemon import delivery_answers as answers
from covm.daemon.message_ids import find_id
from covm.daemon.node import RunningNode
from covm.daemon.requests import answer, answer_lines, node_of, read, until

LOOK_S = 0.2
"""How often a file's progress is looked at for who follows it: a bar that moves smoothly."""

LOOKS_IN_SILENCE = 50
"""Looks without news after which the same is said again, so that who follows knows that the node is there."""


async def send_file(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.SendFile)
    path = Path(asked.path)
    if not path.is_absolute():
        raise Invalid(f"{asked.path} is no absolute path: the node may run in another folder", code="bad_path")
    file = await node.service.send_file(node.find_anyone(asked.peer), path)
    return answer(delivery.TransferLine(transfer=answers.transfer(node, file)))


async def transfers(request: Request) -> Response:
    return answer(delivery.Transfers(transfers=_all(node_of(request))))


async def transfer(request: Request) -> Response:
    node = node_of(request)
    found = {each.id: each for each in _all(node)}
    wanted = find_id(request.path_params["id"], found, "file", "transfers")
    return answer_lines(until(node.stopping, _progress(node, found[wanted])))


async def _progress(node: RunningNode, last: delivery.Transfer) -> AsyncIterator[delivery.TransferLine]:
    """The transfer whenever it has changed, until it has ended."""
    yield delivery.TransferLine(transfer=last)
    unchanged = 0
    while not last.is_final:
        await asyncio.sleep(LOOK_S)
        now = next((each for each in _all(node) if each.id == last.id), None)
        if now is None:
            return  # its record was pruned: it ended long ago
        unchanged = unchanged + 1 if now == last else 0
        if unchanged % LOOKS_IN_SILENCE == 0:
            yield delivery.TransferLine(transfer=now)
        last = now


def _all(node: RunningNode) -> list[delivery.Transfer]:
    return [answers.transfer(node, each) for each in node.service.transfers()]


ROUTES = [
    Route("/v1/send-file", send_file, methods=["POST"]),
    Route("/v1/transfers", transfers),
    Route("/v1/transfers/{id:path}", transfer),
]
