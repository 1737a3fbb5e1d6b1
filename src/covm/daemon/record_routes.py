"""The control API about shared data."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import records as said
from covm.control import schema
from covm.control.failures import Invalid, NotFound, Refused
from covm.daemon.message_ids import find_id
from covm.daemon.node import RunningNode
from covm.daemon.payloads import plain
from covm.daemon.requests import answer, node_of, read
from covm.federation import Collection, Entry, Erasure, Version
from covm.federation.sync.standings import Replica
from covm.federation.wire.member_id import distinct


async def entries(request: Request) -> Response:
    node, asked = node_of(request), request.query_params
    notes = _collection(node, request.path_params["type"])
    limit = _limit(asked.get("limit"))
    found = await notes.list(asked.get("prefix", ""), asked.get("after", ""), limit) if limit else []
    return answer(said.Entries(entries=[_entry(node, notes.type, each) for each in found]))


async def entry(request: Request) -> Response:
    node = node_of(request)
    notes = _collection(node, request.path_params["type"])
    found = await _existing(notes, request.query_params.get("key", ""))
    return answer(said.OneEntry(entry=_entry(node, notes.type, found)))


async def history(request: Request) -> Response:
    node, key = node_of(request), request.query_params.get("key", "")
    notes = _collection(node, request.path_params["type"])
    versions = await notes.history(key)
    if not versions:
        raise _nothing(notes.type, key)
    return answer(said.History(type=notes.type, key=key, versions=[_version(node, each) for each in versions]))


async def put(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Put)
    notes = _collection(node, asked.type)
    shown = await notes.get(asked.key)
    if shown is not None and shown.is_conflict:
        raise Refused(
            f"{asked.key} has {len(shown.heads)} versions side by side; decide with "
            "`covm federation conflicts resolve`",
            code="conflict",
        )
    return _written(node, notes.type, await notes.put(asked.key, asked.value, based_on=shown))


async def delete(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.OnKey)
    notes = _collection(node, asked.type)
    return _written(node, notes.type, await notes.delete(asked.key))


async def resolve(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Resolve)
    notes = _collection(node, asked.type)
    shown = await _existing(notes, asked.key)
    value = asked.value
    if asked.take:
        fitting = [each for each in shown.heads if asked.take == each.id or distinct(each.id).startswith(asked.take)]
        if len(fitting) != 1:
            how = "several versions begin" if fitting else "no version of those side by side begins"
            raise NotFound(f"{how} with {asked.take}; see `covm federation conflicts show`", code="unknown_version")
        if fitting[0].lacks_value:
            raise Refused(f"version {asked.take} has no value here: {fitting[0].reason}", code="no_value")
        if fitting[0].op == "delete":
            return _written(node, notes.type, await notes.delete(asked.key, based_on=shown))
        value = fitting[0].value
    return _written(node, notes.type, await notes.put(asked.key, value, based_on=shown))


async def erase(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Erase)
    found = await node.service.find_records(asked.id)
    version = find_id(distinct(asked.id), [distinct(each.id) for each in found], "version", "records history TYPE KEY")
    [one] = [each for each in found if distinct(each.id) == version]
    notes = _collection(node, one.type)
    return _written(node, notes.type, await notes.erase(one.id, asked.reason))


async def conflicts(request: Request) -> Response:
    node, wanted = node_of(request), request.query_params.get("type")
    names = [wanted] if wanted else [each.type for each in await node.service.replicas()]
    found: list[said.Entry] = []
    for name in names:
        notes = _collection(node, name)
        found += [_entry(node, notes.type, each) for each in await notes.conflicts()]
    return answer(said.Entries(entries=found))


async def sync(request: Request) -> Response:
    node = node_of(request)
    return answer(said.Replicas(replicas=[_replica(node, each) for each in await node.service.replicas()]))


async def sync_now(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.AskSync)
    names = [asked.type] if asked.type else [each.type for each in await node.service.replicas()]
    for name in names:
        await node.service.request_sync(name)
    return await sync(request)


def _collection(node: RunningNode, type_name: str) -> Collection[Any]:
    return node.service.collection(type_name)


async def _existing(notes: Collection[Any], key: str) -> Entry[Any]:
    found = await notes.get(key)
    if found is None:
        raise _nothing(notes.type, key)
    return found


def _nothing(type_name: str, key: str) -> NotFound:
    return NotFound(f"there is nothing of {type_name} under {key!r}; see `covm federation records list {type_name}`")


def _limit(text: str | None) -> int:
    try:
        limit = schema.LIMIT_DEFAULT if text is None else int(text[:9])
    except ValueError:
        raise Invalid(f"the limit is a number of entries, not {text!r}", code="bad_limit") from None
    if not 0 <= limit <= schema.LIMIT_MOST:
        raise Invalid(
            f"a list has up to {schema.LIMIT_MOST:,} entries; ask for the next with --after", code="bad_limit"
        )
    return limit


def _written(node: RunningNode, type_name: str, version: Version[Any]) -> Response:
    return answer(said.Written(type=type_name, key=version.key, written=_version(node, version)))


def _entry(node: RunningNode, type_name: str, found: Entry[Any]) -> said.Entry:
    return said.Entry(
        type=type_name,
        key=found.key,
        value=plain(found.value),
        conflict=found.is_conflict,
        trouble=found.trouble,
        versions=[_version(node, each) for each in found.heads],
    )


def _version(node: RunningNode, version: Version[Any]) -> said.Version:
    return said.Version(
        id=version.id,
        author=version.author,
        name=node.name_of(version.author),
        written_at=version.written_at_ms,
        op=version.op,
        value=plain(version.value),
        state=version.state,
        reason=version.reason,
        lacks_value=version.lacks_value,
        erased=_erased(node, version.erased),
    )


def _erased(node: RunningNode, erased: Erasure | None) -> said.Erased | None:
    if erased is None:
        return None
    return said.Erased(id=erased.id, author=erased.author, name=node.name_of(erased.author), reason=erased.reason)


def _replica(node: RunningNode, replica: Replica) -> said.Replica:
    return said.Replica(
        type=replica.type,
        logs=replica.logs,
        records=replica.records,
        held=replica.held,
        void=replica.void,
        conflicts=replica.conflicts,
        root=replica.root.hex(),
        peers=[
            said.Partner(
                peer_id=each.peer,
                name=node.name_of(each.peer),
                state=each.state,
                fetched=each.fetched,
                last=each.last_ms,
                error=each.error,
            )
            for each in replica.peers
        ],
    )


ROUTES = [
    Route("/v1/records/put", put, methods=["POST"]),
    Route("/v1/records/delete", delete, methods=["POST"]),
    Route("/v1/records/resolve", resolve, methods=["POST"]),
    Route("/v1/records/erase", erase, methods=["POST"]),
    Route("/v1/records/{type}", entries),
    Route("/v1/records/{type}/entry", entry),
    Route("/v1/records/{type}/history", history),
    Route("/v1/conflicts", conflicts),
    Route("/v1/sync", sync),
    Route("/v1/sync", sync_now, methods=["POST"]),
]
