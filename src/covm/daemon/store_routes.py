"""The control API's requests about the store. What takes long runs in a thread of its own, beside the store's."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import delivery
from covm.control.failures import Invalid
from covm.daemon.requests import answer, node_of, read
from covm.federation.config.settings import without_password
from covm.federation.store import back_up_home, check_home


async def backup(request: Request) -> Response:
    node, asked = node_of(request), await read(request, delivery.BackUp)
    path = Path(asked.path)
    if not path.is_absolute():
        raise Invalid(f"{asked.path} is no absolute path: the node may run in another folder", code="bad_path")
    made = await asyncio.to_thread(
        back_up_home,
        node.home,
        path,
        url=node.service.config.store_url,
        passphrase=asked.passphrase,
        recipient=asked.recipient,
    )
    return answer(delivery.BackedUp(path=str(made.path), peer_id=made.peer_id, size_bytes=made.size_bytes))


async def check(request: Request) -> Response:
    node = node_of(request)
    await read(request, delivery.CheckStore)
    report = await asyncio.to_thread(check_home, node.home, node.service.config.store_url)
    problems = [*report.problems, *([f"and {report.more:,} more"] if report.more else [])]
    checked = delivery.Checked(where=without_password(report.where), problems=problems, counts=report.counts)
    return answer(checked)


ROUTES = [
    Route("/v1/store/backup", backup, methods=["POST"]),
    Route("/v1/store/check", check, methods=["POST"]),
]
