"""A member that fills a type of shared data: it fills its own quota, on every honest node, and nobody else's.

THREATS.md, row *sync*: what one member may write is bounded.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from tests.adversarial.sync_peer import A_WHILE, NOTE, ROOT, Scribbler, SyncPeer, scene, told
from tests.unit.members_world import valley
from tests.unit.membership_world import key_of
from tests.unit.outbox_world import virtually
from tests.unit.records_world import FEDERATION, TYPE, Anybody, Author, Shelf
from tests.unit.test_sync_stories import all_have, eventually, notes

from covm.federation.identity.roles import Action
from covm.federation.sync import logs
from covm.federation.sync.frontier import path_of
from covm.federation.sync.logs import First
from covm.federation.sync.quotas import Quotas, Usage
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import Auth, SignedRecord, log_id
from covm.federation.wire.sync_frames import Carried, Found, SyncNews, SyncRequest, SyncResponse, Told, Wanted
from covm.testing.machine import Machine

MIB = 1024 * 1024


def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every quota has room for everything."""
    monkeypatch.setattr(Quotas, "full", lambda *_, **__: None)


@pytest.mark.parametrize("defended", [True, False])
async def test_a_member_that_fills_a_type_keeps_out_itself_and_nobody_else(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        unlimited(monkeypatch)
    authority, flooders = Anybody(), [Author(f"flooder {number}") for number in range(4)]
    authority.payers = dict.fromkeys((each.key.peer_id for each in flooders), "mallory")
    shelf = await Shelf(authority, quota=Usage(50, 2 * MIB)).open()
    honest, last = Author("honest"), None
    for turn in range(10):
        flood: list[SignedRecord] = []
        for flooder in flooders:
            life = Incarnation(turn + 1, bytes(8))
            first = flooder.write(f"flood {turn}", incarnation=life)
            flood += [first, flooder.write(f"flood {turn} again", incarnation=life, after=first)]
        last = honest.write(f"honest {turn}", turn, after=last)
        await shelf.take(*flood, last)
    assert shelf.keeper.quotas.used((TYPE, honest.key.peer_id)).records == 10
    assert (shelf.keeper.quotas.used((TYPE, "mallory")).records <= 50) is defended


@pytest.mark.parametrize("defended", [True, False])
async def test_bytes_of_one_member_end_at_the_quota_and_its_reserve(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        unlimited(monkeypatch)
    flooder, shelf = Author("flooder"), await Shelf(quota=Usage(10**6, 2 * MIB)).open()
    last: SignedRecord | None = None
    erase: dict[str, Any] = {"op": "erase", "target": FEDERATION}
    for number in range(120):
        last = flooder.write(f"flood {number}", "x" * 60_000, after=last, **(erase if number % 3 and last else {}))
        await shelf.take(last, bodies=[flooder.bodies[last.id]])
    used = shelf.keeper.quotas.used((TYPE, flooder.key.peer_id))
    assert (used.size_bytes <= 2 * MIB * 11 // 10 + 1) is defended


@pytest.mark.parametrize("defended", [True, False])
async def test_keys_that_are_made_up_have_one_quota_together(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Anybody()
    sybils = [Author(f"sybil {number}") for number in range(60)]
    authority.payers = dict.fromkeys((each.key.peer_id for each in sybils), None)
    if not defended:
        monkeypatch.setattr(Quotas, "holder", lambda _self, type_name, first: (type_name, first.author))
    shelf = await Shelf(authority, quota=Usage(20, 2 * MIB)).open()
    for sybil in sybils:
        await shelf.take(sybil.write("flood"))
    assert len(await shelf.states()) == (20 if defended else 60)
    honest = Author("honest")
    assert (await shelf.take(honest.write("key"))).placed == 1


@virtually
async def test_who_writes_in_anothers_name_fills_no_quota_of_the_other() -> None:
    async with valley() as v:
        keeper = v["mill"].service._node.sync.keeper
        mill = keeper.authority.auth(NOTE)
        assert isinstance(mill, Auth)
        assert v["farm"].service._node.membership.may(v["mill"].peer_id, Action.WRITE, NOTE).holds

        def payer(author: str) -> str | None:
            life = Incarnation(1, hashlib.sha256(author.encode()).digest()[:8])
            return keeper.authority.payer(First(log_id(NOTE, author, life), author, mill))

        assert payer(v["mill"].peer_id) == str(v.coops["mill"].member)
        assert payer(v["farm"].peer_id) is None
        assert payer(key_of("stranger").peer_id) is None


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_a_flood_from_one_peer_ends_and_another_log_that_it_has_comes_all_the_same(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        unlimited(monkeypatch)
    async with scene() as world:
        victim, honest = world.machines
        victim.service._node.sync.keeper.quotas.most = Usage(20, 2 * MIB)
        flood, modest = Flood(), Scribbler("modest")
        written = modest.write("modest", "is heard")

        def answers(request: SyncRequest) -> list[SyncResponse]:
            if request.probes:
                differ = [flood.told, *([] if is_heard else [told(written)])]
                differ.sort(key=lambda each: path_of(each.log))
                return [SyncResponse(number=request.number, found=[Found(b"", [], differ)])]
            for want in request.wants:
                if want.log == flood.told.log:
                    return [SyncResponse(number=request.number, records=flood.behind(want))]
            return [SyncResponse(number=request.number, records=modest.carried(written))]

        is_heard = False
        peer = await SyncPeer.join(world, victim, answers=answers)
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await eventually(lambda: all_have([victim], "modest", "is heard"))
        is_heard = True
        assert flood.count_at(victim) == (20 if defended else 100)
        asked = len(peer.asked)
        for number in range(5):
            flood.length += 1
            peer.say(peer.theirs[0], SyncNews([(NOTE, bytes([number + 1]) * 32)]))
            await world.sleep(A_WHILE)
            await notes(honest).put("honest", number)
            await eventually(lambda number=number: all_have([victim], "honest", number))  # type: ignore[misc]
        wants = [request for request in peer.asked[asked:] if request.wants]
        assert bool(wants) is not defended, "what is declined is not asked for again, however far the peer has it"
        assert peer.peer in victim.service.connected_peers(), "it did nothing that an honest peer does not do"


class Flood:
    """A log of which somebody has ever more."""

    def __init__(self) -> None:
        self.author, self.length = Scribbler("flooder"), 100
        self.records: list[SignedRecord] = []
        for number in range(120):
            last = self.records[-1] if self.records else None
            self.records.append(self.author.write(f"flood {number}", number, after=last))

    @property
    def told(self) -> Told:
        return told(self.records[self.length - 1])

    def behind(self, want: Wanted) -> list[Carried]:
        held = [each.id for each in self.records]
        at = held.index(want.have[-1]) + 1 if want.have else 0
        return self.author.carried(*self.records[at : min(at + 30, self.length)])

    def count_at(self, machine: Machine) -> int:
        log = machine.service._node.sync.keeper.logs.get(self.told.log)
        last = log.last() if log is not None else None
        return 0 if last is None else last[0].seq


async def test_logs_of_one_type_take_no_room_from_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOGS", 5)
    author, shelf = Author("flooder"), await Shelf().open()
    lives = [Incarnation(number, bytes(8)) for number in range(5)]
    types = ("notes.one", "notes.other")
    await shelf.take(*(author.write("key", 1, incarnation=life, type=name) for name in types for life in lives))
    assert [shelf.keeper.logs.count_of(name, author.key.peer_id) for name in types] == [5, 5]
