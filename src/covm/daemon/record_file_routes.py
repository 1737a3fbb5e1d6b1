"""The control API about records in files: the node itself writes and reads them."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import record_files as said
from covm.control.failures import Invalid
from covm.daemon.requests import answer, node_of, read


async def export(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Export)
    made = await node.service.export_records(asked.type, absolute(asked.path))
    return answer(
        said.Exported(
            type=made.type,
            path=made.path,
            root=made.root,
            records=made.records,
            left_out=made.left_out,
            size_bytes=made.size_bytes,
        )
    )


async def import_(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Import)
    taken = await node.service.import_records(absolute(asked.path))
    return answer(
        said.Imported(
            type=taken.type,
            path=taken.path,
            root=taken.root,
            records=taken.records,
            new=taken.new,
            completed=taken.completed,
            refused=taken.refused,
            left_out=taken.left_out,
            postponed=taken.postponed,
        )
    )


def absolute(text: str) -> Path:
    """The path that a request names. Raises `Invalid`."""
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise Invalid(f"{text} is no absolute path: the node may run in another folder", code="bad_path")
    return path


ROUTES = [
    Route("/v1/records/export", export, methods=["POST"]),
    Route("/v1/records/import", import_, methods=["POST"]),
]
