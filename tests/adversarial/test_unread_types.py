"""Members that may not read a type and ask, or write, all the same: of what others wrote they learn nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.adversarial.sync_peer import ROOT
from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import eventually, notes, value_of

from covm._native import Link, cid
from covm.federation.errors import SyncInterrupted
from covm.federation.identity.roles import Role
from covm.federation.sync import library
from covm.federation.sync.leases import Leases
from covm.federation.sync.session import Means, Session
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import log_id
from covm.federation.wire.sync_frames import Found, SyncRequest, SyncResponse, Tip, Told
from covm.testing.machine import Machine

SECRET = "accounts.entry"
ENTRIES = 7


@asynccontextmanager
async def books(**shop: Any) -> AsyncIterator[Valley]:
    """The mill and the farm keep books, which the shop may not read."""
    everything = ("*",)
    roles = {
        "member": Role(publish=everything, send=everything, **{"read": ("notes.*",), "write": ("notes.*",), **shop}),
        "bookkeeper": Role(publish=everything, send=everything, read=everything, write=everything),
    }
    async with valley(("mill", "farm"), ("shop",), roles=roles, founder_roles=("bookkeeper",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        await notes(v["mill"]).put("hello", 1)
        for number in range(ENTRIES):
            await notes(v["mill"], SECRET).put(str(number), number)
        await eventually(lambda: _is(v["farm"], "6", 6))
        yield v


async def _is(machine: Machine, key: str, value: Any) -> bool:
    return bool(await value_of(machine, key, SECRET) == value)


def watched(machine: Machine) -> list[SyncRequest]:
    """What a machine is asked of the secret type from now on."""
    sync, asked = machine.service._node.sync, list[SyncRequest]()
    answer = sync.answer

    async def watching(peer: str, request: SyncRequest) -> Any:
        if request.type == SECRET:
            asked.append(request)
        return await answer(peer, request)

    sync.answer = watching  # type: ignore[method-assign]
    return asked


def claims(machine: Machine, logs: Sequence[Link]) -> list[SyncRequest]:
    """It says that it has something of the secret type, with these logs; what it is asked for that."""
    sync, asked = machine.service._node.sync, list[SyncRequest]()
    roots, answer = sync.roots, sync.answer

    def claimed(peer: str, types: Any = None, turn: int = 0) -> Any:
        return [*roots(peer, types, turn), (SECRET, ROOT)]

    async def answered(peer: str, request: SyncRequest) -> Any:
        if request.type != SECRET:
            return await answer(peer, request)
        asked.append(request)
        if request.probes:
            found = [Told(log, (Tip(10**6, cid(b"anything")),)) for log in logs]
            return SyncResponse(number=request.number, found=[Found(b"", [], found)])
        return SyncResponse(number=request.number, strange=[each.log for each in request.wants])

    sync.roots, sync.answer = claimed, answered  # type: ignore[method-assign]
    return asked


def guessed(v: Valley) -> Link:
    """The id of the mill's log of the secret type, as the shop works it out from an ordinary note."""
    [log] = [each for each in v["shop"].service._node.sync.keeper.logs if each.author == v["mill"].peer_id]
    return log_id(SECRET, v["mill"].peer_id, log.incarnation)


@virtually
async def test_who_may_not_read_a_type_and_says_that_it_has_some_hears_nothing_of_what_is_here() -> None:
    async with books() as v:
        asked = claims(v["shop"], [guessed(v)])
        await notes(v["shop"]).put("poke", 2)
        await eventually(lambda: _said(v["mill"], "poke", 2))
        await eventually(lambda: _said(v["farm"], "poke", 2))
        await in_time(lambda: any(each.wants for each in asked))
        assert all(probe.bitmap == 0 and not probe.digests for each in asked for probe in each.probes)
        assert all(want.have == [] for each in asked for want in each.wants)


@virtually
async def test_what_one_writes_who_may_not_read_arrives_and_only_its_own_is_named_to_it() -> None:
    async with books(write=("notes.*", SECRET)) as v:
        mill, farm, shop = (v[name] for name in ("mill", "farm", "shop"))
        asked = watched(shop)
        mine = notes(shop, SECRET)
        written = {(await mine.put(f"receipt {number}", number)).id for number in range(5)}
        await eventually(lambda: _is(mill, "receipt 4", 4))
        await farm.stop()
        written |= {(await mine.put(f"receipt {number}", number)).id for number in range(5, 9)}
        large = await mine.put("scan", "x" * 100_000)
        await farm.start()
        for reader in (mill, farm):
            await eventually(lambda reader=reader: _is(reader, "receipt 8", 8))  # type: ignore[misc]
            await eventually(lambda reader=reader: _is(reader, "scan", "x" * 100_000))  # type: ignore[misc]
        assert all(probe.bitmap == 0 and not probe.digests for each in asked for probe in each.probes)
        assert {str(link) for each in asked for want in each.wants for link in want.have} <= {*written, large.id}
        assert await value_of(shop, "6", SECRET) is None


@virtually
async def test_many_records_of_one_who_may_not_read_arrive_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_ANSWER_BYTES", 2_000)
    async with books(write=("notes.*", SECRET)) as v:
        for name in ("mill", "farm"):
            await v[name].stop()
        for number in range(30):
            await notes(v["shop"], SECRET).put(f"receipt {number}", number)
        await v["mill"].start()
        await eventually(lambda: _is(v["mill"], "receipt 29", 29))
        assert len(await notes(v["mill"], SECRET).list("receipt")) == 30


@virtually
async def test_who_may_only_write_and_tells_another_s_log_hears_nothing_of_what_is_held_of_it() -> None:
    async with books(write=("notes.*", SECRET)) as v:
        here, nowhere = guessed(v), log_id(SECRET, v["mill"].peer_id, Incarnation(77, bytes(8)))
        asked = claims(v["shop"], sorted([here, nowhere], key=lambda log: log.bytes))
        await notes(v["shop"]).put("poke", 2)
        await eventually(lambda: _said(v["mill"], "poke", 2))
        await in_time(lambda: len([each for each in asked if each.wants]) >= 4)
        wants = [want for each in asked for want in each.wants]
        assert all(want.have == [] for want in wants)
        assert sum(want.log == here for want in wants) == sum(want.log == nowhere for want in wants)


@virtually
async def test_who_loses_the_right_to_read_on_the_way_is_asked_no_further() -> None:
    async with books() as v:
        mill, clock = v["mill"].service._node.sync, v["mill"].clock
        asked, asker = watched(v["farm"]), mill.streams.partners[v["farm"].peer_id].asker
        rights = [True, True, False]
        means = Means(mill.keeper, Leases(), clock, lambda: rights.pop(0), lambda *_: None)
        session = Session(SECRET, asker, {}, means)
        await session.run()
        assert len(asked) == 1
        with pytest.raises(SyncInterrupted, match="has changed"):
            await session.run()
        assert len(asked) == 1


async def _said(machine: Machine, key: str, value: Any) -> bool:
    return bool(await value_of(machine, key) == value)
