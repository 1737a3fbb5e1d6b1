"""The control API about shared data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from covm.control import records as said
from covm.control import schema
from covm.control.failures import Invalid, NotFound, Refused
from covm.daemon.membership_routes import told_decision
from covm.daemon.message_ids import find_id
from covm.daemon.node import RunningNode
from covm.daemon.payloads import plain
from covm.daemon.requests import answer, answer_lines, node_of, read, until
from covm.federation import Collection, Entry, Erasure, Version
from covm.federation.errors import PeerNotConnected, UnknownSyncType
from covm.federation.sync.standings import Replica, SyncProgress
from covm.federation.wire.member_id import distinct

LOOK_S: Final = 0.2
"""How often it is looked at how far the fetching is: a bar that moves smoothly."""


MOST_CONFLICTS_BYTES: Final = 16 * 1024 * 1024
"""Bytes of conflicts after which no further type is looked at: an answer is whole in memory."""


async def entries(request: Request) -> Response:
    node, asked = node_of(request), request.query_params
    notes = _collection(node, request.path_params["type"])
    limit = _limit(asked.get("limit"))
    found = await notes.list(asked.get("prefix", ""), asked.get("after", ""), limit)
    return answer(said.Entries(entries=[_entry(node, notes.type, each) for each in found]))


async def entry(request: Request) -> Response:
    node = node_of(request)
    notes = _collection(node, request.path_params["type"])
    found = await _existing(notes, request.query_params.get("key", ""))
    return answer(said.OneEntry(entry=_entry(node, notes.type, found)))


async def history(request: Request) -> Response:
    node, key = node_of(request), request.query_params.get("key", "")
    notes = _collection(node, request.path_params["type"])
    after = request.query_params.get("after")
    versions = await notes.history(key, after)
    if not versions and after is None:
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
    if asked.based_on is not None and set(asked.based_on) != {each.id for each in shown.heads}:
        raise Refused(
            f"other versions of {asked.key} stand there by now; look again with `covm federation conflicts show`",
            code="changed",
        )
    op, value = await _decided(notes, shown, asked)
    if op == "delete":
        return _written(node, notes.type, await notes.delete(asked.key, based_on=shown))
    return _written(node, notes.type, await notes.put(asked.key, value, based_on=shown))


async def preview(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Resolve)
    notes = _collection(node, asked.type)
    shown = await _existing(notes, asked.key)
    op, value = await _decided(notes, shown, asked)
    replaces = [_version(node, each) for each in shown.heads]
    return answer(said.Preview(type=notes.type, key=asked.key, op=op, value=plain(value), replaces=replaces))


async def _decided(notes: Collection[Any], shown: Entry[Any], asked: said.Resolve) -> tuple[str, Any]:
    """What is to be written: a value, or what a version says that there is or was."""
    if not asked.take:
        return "put", asked.value
    fitting = [each async for each in _versions(notes, shown) if _is_named(each, asked.take)]
    if len(fitting) != 1:
        how = "several versions begin" if fitting else f"no version of {asked.key} begins"
        raise NotFound(
            f"{how} with {asked.take}; see `covm federation conflicts show` and `covm federation records history`",
            code="unknown_version",
        )
    if fitting[0].op == "put" and fitting[0].value is None and fitting[0].reason:
        raise Refused(f"the value of version {asked.take} cannot be read here: {fitting[0].reason}", code="no_value")
    return fitting[0].op, fitting[0].value


def _is_named(version: Version[Any], name: str) -> bool:
    return version.op != "erase" and (name == version.id or distinct(version.id).startswith(name))


async def _versions(notes: Collection[Any], shown: Entry[Any]) -> AsyncIterator[Version[Any]]:
    """Those side by side, and the others of the key, a page at a time."""
    for each in shown.heads:
        yield each
    heads, last = {each.id for each in shown.heads}, None
    while page := await notes.history(shown.key, last):
        for each in page:
            if each.id not in heads:
                yield each
        last = page[-1].id


async def erase(request: Request) -> Response:
    node, asked = node_of(request), await read(request, said.Erase)
    found = await node.service.find_records(asked.id)
    version = find_id(distinct(asked.id), [distinct(each.id) for each in found], "version", "records history TYPE KEY")
    [one] = [each for each in found if distinct(each.id) == version]
    if not await _is_anothers(node, one.id):
        written = await _collection(node, one.type).erase(one.id, asked.reason)
        return answer(said.Erasing(type=one.type, key=one.key, written=_version(node, written)))
    try:
        view = await node.service.members.erase(one.type, one.id, asked.reason)
    except ValueError as error:
        raise Invalid(str(error), code="bad_reason") from error
    return answer(said.Erasing(type=one.type, key=one.key, decision=told_decision(view, one.key)))


async def _is_anothers(node: RunningNode, record: str) -> bool:
    """Whether another member wrote a record: its erasing is for founders to approve."""
    if node.service.config.membership == "open" or (own := node.service.members.own()) is None:
        return False
    return await node.service.record_owner(record) not in (None, own.id)


async def conflicts(request: Request) -> Response:
    node, wanted = node_of(request), request.query_params.get("type")
    names = [wanted] if wanted else [each.type for each in await node.service.replicas()]
    found: list[said.Entry] = []
    left_bytes = MOST_CONFLICTS_BYTES
    for name in names:
        notes = _collection(node, name)
        page = [_entry(node, notes.type, each) for each in await notes.conflicts()]
        found += page
        left_bytes -= sum(len(msgspec.json.encode(each)) for each in page)
        if left_bytes <= 0:
            break  # the others are answered once these are decided, or by their type
    return answer(said.Entries(entries=found))


async def sync(request: Request) -> Response:
    node, peer, wanted = node_of(request), _peer(request), _type(request)
    node.service.sync_progress(wanted)
    put_off = [
        said.PutOff(peer_id=each, name=node.name_of(each), types=types)
        for each, types in node.service.types_put_off().items()
        if peer in (None, each) and wanted is None
    ]
    return answer(said.Replicas(replicas=await _replicas(node, wanted, peer), put_off=put_off))


async def sync_now(request: Request) -> Response:
    node, peer, wanted = node_of(request), _peer(request), _type(request)
    # Whatever is wrong with what was asked for is said before the first line.
    before = node.service.sync_progress(wanted, peer=peer)
    return answer_lines(until(node.stopping, _progress(node, wanted, peer, before)))


async def _progress(
    node: RunningNode, wanted: str | None, peer: str | None, before: SyncProgress
) -> AsyncIterator[said.SyncLine]:
    """How far it is, a few times a second, until there is no more to be had. Who hangs up ends the telling alone."""
    began_s, service = time.monotonic(), node.service
    asking = service.request_sync(wanted, peer=peer) if wanted else service.request_sync_of_all(peer=peer)
    work = asyncio.ensure_future(asking)
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=LOOK_S)
            yield _line(began_s, before, _fetched(node, wanted, peer))
        await work
    finally:
        work.cancel()
    last = _line(began_s, before, _fetched(node, wanted, peer))
    yield msgspec.structs.replace(last, replicas=await _replicas(node, wanted, peer))


def _fetched(node: RunningNode, wanted: str | None, peer: str | None) -> SyncProgress:
    """How far it is; nothing once the peer is gone, or the last that had something of the type."""
    try:
        return node.service.sync_progress(wanted, peer=peer)
    except (PeerNotConnected, UnknownSyncType):
        return SyncProgress(0, 0, 0)


def _line(began_s: float, before: SyncProgress, now: SyncProgress) -> said.SyncLine:
    """What came since; never less than nothing, for a peer that is gone has its counts with it."""
    return said.SyncLine(
        records=max(0, now.records - before.records),
        size=max(0, now.size_bytes - before.size_bytes),
        lacking=now.lacking,
        seconds=round(time.monotonic() - began_s, 3),
    )


async def _replicas(node: RunningNode, wanted: str | None, peer: str | None) -> list[said.Replica]:
    members, found = node.member_names(), await node.service.replicas()
    return [_replica(node, each, peer, members) for each in found if wanted in (None, each.type)]


def _type(request: Request) -> str | None:
    """The type that was named, as it travels, if one was. Raises `InvalidMessage`."""
    named = request.query_params.get("type")
    return _collection(node_of(request), named).type if named else None


def _peer(request: Request) -> str | None:
    """The peer that was named, if one was. Raises `NotFound`, `Invalid`."""
    named = request.query_params.get("peer")
    return node_of(request).find(named) if named else None


def _collection(node: RunningNode, type_name: str) -> Collection[Any]:
    return node.service.collection(type_name)


async def _existing(notes: Collection[Any], key: str) -> Entry[Any]:
    """What stands under a key: a value, or a conflict of those that deleted it."""
    found = next(iter(await notes.entries([key])), None)
    if found is None or not (found.is_conflict or any(head.op == "put" for head in found.heads)):
        raise _nothing(notes.type, key)
    return found


def _nothing(type_name: str, key: str) -> NotFound:
    return NotFound(f"there is nothing of {type_name} under {key!r}; see `covm federation records list {type_name}`")


def _limit(text: str | None) -> int:
    try:
        limit = schema.LIMIT_DEFAULT if text is None else int(text[:9])
    except ValueError:
        raise Invalid(f"the limit is a number of entries, not {text!r}", code="bad_limit") from None
    if not 1 <= limit <= schema.LIMIT_MOST:
        raise Invalid(f"a list has 1 to {schema.LIMIT_MOST:,} entries; ask for the next with --after", code="bad_limit")
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
    return said.Erased(
        id=erased.id,
        author=erased.author,
        name=node.name_of(erased.author),
        reason=erased.reason,
        approved_by=[node.service.members.show(each).name for each in erased.approved_by],
    )


def _replica(node: RunningNode, replica: Replica, peer: str | None, members: Mapping[str, str]) -> said.Replica:
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
                position=each.position,
                size=each.size_bytes,
                lacking=each.lacking,
                lag_s=round(each.lag_s, 3),
                declined=each.declined,
            )
            for each in replica.peers
            if peer in (None, each.peer)
        ],
        usage=[
            said.Usage(
                member=each.member,
                name=members.get(each.member) or node.name_of(each.member),
                records=each.records,
                size=each.size_bytes,
                declined=each.is_declined,
            )
            for each in replica.usage
        ],
    )


ROUTES = [
    Route("/v1/records/put", put, methods=["POST"]),
    Route("/v1/records/delete", delete, methods=["POST"]),
    Route("/v1/records/resolve", resolve, methods=["POST"]),
    Route("/v1/records/erase", erase, methods=["POST"]),
    Route("/v1/records/preview", preview, methods=["POST"]),
    Route("/v1/records/{type}", entries),
    Route("/v1/records/{type}/entry", entry),
    Route("/v1/records/{type}/history", history),
    Route("/v1/conflicts", conflicts),
    Route("/v1/sync", sync),
    Route("/v1/sync", sync_now, methods=["POST"]),
]
