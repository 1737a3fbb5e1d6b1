"""Connected nodes tell each other of their peers, so that whoever knows one of them finds all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.members_world import in_time, valley
from tests.unit.outbox_world import virtually
from tests.unit.service_world import World, in_the_end, world
from tests.unit.simulated_world import leaping
from tests.unit.test_service_adversary import Mallory

from covm.federation import FederationService, Identity
from covm.federation.clock import SeededRandom
from covm.federation.network.interface import FramesReceived
from covm.federation.peers.book import MAX_PER_GIVER, Source
from covm.federation.peers.exchange import NEWS_DELAY_S
from covm.federation.peers.health import Allowance
from covm.federation.peers.hints import (
    BURST,
    MAX_WAITING,
    PERIOD_S,
    TURN_MS,
    for_newcomer,
    hint_of,
    is_others_turn,
)
from covm.federation.peers.manager import UPKEEP_PERIOD_S
from covm.federation.peers.record import Connection, PeerRecord
from covm.federation.wire.hints import MAX_HINT_ADDRESSES, MAX_HINTS, PeerHint, PeerHints
from covm.federation.wire.system import PeerInfo
from covm.testing import until

MINUTE = timedelta(minutes=1)
BEN = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"


def all_see_all(nodes: Iterable[FederationService]) -> bool:
    ids = {node.peer_id for node in nodes}
    return all({*node.connected_peers(), node.peer_id} >= ids for node in nodes)


async def village(w: World, count: int, **changes: Any) -> list[FederationService]:
    """A node, and others that begin with its address alone."""
    first = await w.start("first", **changes)
    others = [
        await w.start(f"node {number}", bootstrap_peers=[first.addresses[0]], **changes) for number in range(1, count)
    ]
    return [first, *others]


# --- stories


@leaping
async def test_who_knows_one_address_finds_everybody() -> None:
    async with world() as w:
        nodes = await village(w, 8)
        await in_the_end(lambda: all_see_all(nodes), MINUTE)


@leaping
async def test_without_peer_exchange_nobody_is_told_of_anybody() -> None:
    async with world() as w:
        nodes = await village(w, 4, enable_peer_exchange=False)
        await in_the_end(lambda: len(nodes[0].connected_peers()) == 3, MINUTE)
        await asyncio.sleep(600)
        assert [len(node.connected_peers()) for node in nodes] == [3, 1, 1, 1]


@leaping
async def test_after_the_first_node_has_died_a_newcomer_finds_everybody_from_any_one_of_the_others() -> None:
    async with world() as w:
        first, *others = await village(w, 5)
        await in_the_end(lambda: all_see_all([first, *others]), MINUTE)
        known = [first.addresses[0], others[2].addresses[0]]
        await first.stop()
        late = await w.start("late", bootstrap_peers=known)
        await in_the_end(lambda: all_see_all([late, *others]), MINUTE)


@leaping
async def test_a_node_that_nobody_can_dial_is_told_of_the_others_and_dials_them() -> None:
    async with world() as w:
        first, public = await village(w, 2)
        hidden = await w.start("hidden", bootstrap_peers=[first.addresses[0]], listen=())
        await in_the_end(lambda: all_see_all([first, public, hidden]), MINUTE)


@leaping
async def test_who_moves_is_told_of_anew() -> None:
    async with world() as w:
        first, second, third = await village(w, 3)
        await in_the_end(lambda: all_see_all([first, second, third]), MINUTE)
        record = first._node.peers._roster.get(second.peer_id)
        assert record is not None
        moved = "/ip4/203.0.113.9/tcp/9"
        first._node.peers.peer_info_received(second.peer_id, _info(moved))
        # It tells of it, and the third keeps what it may need once the connection is lost.
        told: list[PeerHints] = []
        third._node.peers._exchange.received = lambda record, hints: told.append(hints)  # type: ignore[method-assign]
        await in_the_end(lambda: any(moved in hint.addresses for hints in told for hint in hints.peers), MINUTE)


@leaping
async def test_a_full_federation_goes_quiet() -> None:
    async with world() as w:
        nodes = await village(w, 5)
        await in_the_end(lambda: all_see_all(nodes), MINUTE)
        await asyncio.sleep(60)
        told: list[Any] = []
        for node in nodes:
            node._node.peers._exchange.received = lambda *said: told.append(said)  # type: ignore[method-assign]
        await asyncio.sleep(3600)
        assert not told


# --- what a peer may do with it


async def _mallory(w: World, **changes: Any) -> tuple[FederationService, Mallory]:
    victim = await w.start("victim", **changes)
    mallory = await Mallory.join(w, victim)
    await mallory.open()
    return victim, mallory


def _invented(count: int, start: int = 0) -> PeerHints:
    ids = [Identity.from_seed((start + number).to_bytes(32, "big")).peer_id for number in range(count)]
    return PeerHints([PeerHint(peer=peer, addresses=["/ip4/203.0.113.1/tcp/1"]) for peer in ids])


def _sources(node: FederationService, peer: str) -> list[Source]:
    return [known.source for known in node._node.peers._roster.book.known(peer).values()]


@leaping
async def test_a_flood_of_hints_is_ignored_and_charged() -> None:
    async with world() as w:
        victim, mallory = await _mallory(w)
        frames = [_invented(MAX_HINTS, MAX_HINTS * number) for number in range(40)]
        mallory.send(*frames)
        await in_the_end(lambda: victim.stats()["dropped"].get("too_many_hints"), MINUTE)
        assert victim.stats()["dropped"]["too_many_hints"] == 40 - BURST
        book = victim._node.peers._roster.book
        assert len([peer for peer in book.peers() if peer != mallory.peer]) == MAX_PER_GIVER


@leaping
async def test_a_hint_says_nothing_of_this_node_of_who_is_banned_or_of_who_is_connected() -> None:
    async with world() as w:
        victim, mallory = await _mallory(w)
        ben, banned = await w.start("ben"), Identity.generate().peer_id
        await ben.connect_peer(victim.addresses[0])
        await victim.ban_peer(banned)
        lie = ["/ip4/203.0.113.1/tcp/1"]
        named = [victim.peer_id, ben.peer_id, banned]
        mallory.send(PeerHints([PeerHint(peer=peer, addresses=lie) for peer in [*named, _invented(1).peers[0].peer]]))
        await in_the_end(lambda: _sources(victim, _invented(1).peers[0].peer), MINUTE)
        assert [Source.EXCHANGE in _sources(victim, peer) for peer in named] == [False] * 3


@leaping
async def test_what_is_no_address_of_the_peer_is_left_out() -> None:
    async with world() as w:
        victim, mallory = await _mallory(w)
        [hint] = _invented(1).peers
        wrong = ["nonsense", f"/ip4/203.0.113.1/tcp/1/p2p/{mallory.peer}", "/ip4/203.0.113.2/tcp/2"]
        mallory.send(PeerHints([PeerHint(peer=hint.peer, addresses=wrong)]))
        await in_the_end(lambda: _sources(victim, hint.peer), MINUTE)
        assert list(victim._node.peers._roster.book.known(hint.peer)) == ["/ip4/203.0.113.2/tcp/2"]


@leaping
async def test_a_peer_that_is_not_connected_yet_is_told_of_nobody() -> None:
    async with world() as w:
        victim, ben = await w.pair()
        mallory = await Mallory.join(w, victim)

        def told() -> bool:
            return any(ben.peer_id.encode() in data for event in mallory.heard(FramesReceived) for data in event.frames)

        await asyncio.sleep(5)
        assert not told()
        await mallory.open()
        await in_the_end(told, MINUTE)


@virtually
async def test_a_node_of_nobody_is_left_out_where_there_are_members() -> None:
    async with valley() as v:
        mill, farm = v["mill"].service, v["farm"].service
        stranger = _invented(1).peers[0].peer
        await v.approve_many("mill", 1)
        members = mill._node.members
        assert members is not None
        assert members.standing is not None
        [guest] = [peer for peer in members.standing.nodes if peer not in (mill.peer_id, farm.peer_id)]
        addresses = ["/ip4/203.0.113.1/tcp/1"]
        hints = PeerHints([PeerHint(peer=peer, addresses=addresses) for peer in (stranger, guest)])
        farm._node.direct.send_control(mill.peer_id, hints)
        await in_time(lambda: Source.EXCHANGE in _sources(mill, guest))
        assert _sources(mill, stranger) == []


# --- rules


def _info(*addresses: str) -> PeerInfo:
    return PeerInfo(name="", version="", addresses=list(addresses), capabilities=[], types_digest=bytes(32))


def _record(peer: str = BEN, since_ms: int = 0, **fields: Any) -> PeerRecord:
    return PeerRecord(peer, since_ms, **fields)


def test_what_is_told_of_a_peer_begins_where_it_was_reached() -> None:
    reached = {
        1: Connection(f"/ip4/10.0.0.1/tcp/1/p2p/{BEN}", True),
        2: Connection("/ip4/10.0.0.1/tcp/55555", False),
    }
    record = _record(
        connections=reached,
        info=_info("/ip4/10.0.0.1/tcp/1", "/dns4/ben.example/tcp/1"),
        claimed=("/ip4/10.0.0.7/tcp/7",),
    )
    hint = hint_of(record)
    assert hint is not None
    assert hint.addresses == ["/ip4/10.0.0.1/tcp/1", "/dns4/ben.example/tcp/1", "/ip4/10.0.0.7/tcp/7"]


def test_of_a_peer_that_says_nothing_of_itself_nobody_is_told() -> None:
    assert hint_of(_record(connections={1: Connection("/ip4/10.0.0.1/tcp/55555", False)})) is None
    assert hint_of(_record(info=_info("/ip4/10.0.0.1/tcp/1" + "0" * 300, ""))) is None


def test_loopback_is_told_only_of_who_is_nowhere_else() -> None:
    here, there = ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"], ["/ip4/10.0.0.1/tcp/1"]
    told = [hint_of(_record(info=_info(*said))) for said in (here, here + there)]
    assert [hint.addresses for hint in told if hint is not None] == [here, there]


def test_a_hint_has_few_addresses() -> None:
    hint = hint_of(_record(info=_info(*(f"/ip4/10.0.0.{number}/tcp/1" for number in range(30)))))
    assert hint is not None
    assert len(hint.addresses) == MAX_HINT_ADDRESSES


def test_a_hint_names_where_the_peer_itself_is_however_much_its_relays_state() -> None:
    stated = [f"/ip4/100.{number}.0.1/tcp/1/p2p/{BEN}/p2p-circuit" for number in range(16)]
    hint = hint_of(_record(claimed=(*stated, "/ip4/192.168.1.5/tcp/1")))
    assert hint is not None
    assert hint.addresses[0] == "/ip4/192.168.1.5/tcp/1"
    assert len(hint.addresses) < MAX_HINT_ADDRESSES


def test_a_newcomer_is_told_of_those_first_who_came_last() -> None:
    records = [_record(f"peer {number}", since_ms=number) for number in range(5)]
    assert for_newcomer(records, SeededRandom(1)) == [f"peer {number}" for number in (4, 3, 2, 1, 0)]


def test_of_very_many_each_newcomer_is_told_of_others() -> None:
    records = [_record(f"peer {number}", since_ms=number) for number in range(4 * MAX_WAITING)]
    random = SeededRandom(1)
    told = [for_newcomer(records, random) for _ in range(40)]
    assert {len(each) for each in told} == {MAX_WAITING}
    assert len(set().union(*told)) == len(records)


def test_an_honest_peer_is_never_short_of_its_allowance_and_a_flood_always() -> None:
    ben, mallory = Allowance(0.0, BURST), Allowance(0.0, BURST)
    assert all(ben.take(PERIOD_S * number, 1 / PERIOD_S, BURST) for number in range(1_000))
    assert [mallory.take(0.0, 1 / PERIOD_S, BURST) for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    assert [mallory.take(PERIOD_S * 1.01, 1 / PERIOD_S, BURST) for _ in range(2)] == [True, False]


def test_who_is_heard_of_by_both_is_dialled_by_one_before_the_other_is_told() -> None:
    """Otherwise both would dial at once, and leave two connections."""
    assert TURN_MS / 1000 + UPKEEP_PERIOD_S < NEWS_DELAY_S[0] < NEWS_DELAY_S[1] <= PERIOD_S


def test_of_two_that_hear_of_each_other_one_dials_and_the_other_waits_a_moment() -> None:
    assert [is_others_turn("ada", "ben", 0), is_others_turn("ben", "ada", 0)] == [False, True]
    assert not is_others_turn("ben", "ada", TURN_MS)
    assert not is_others_turn("ben", "ada", -1), "a clock that was set back"


@pytest.mark.parametrize("count", [3, 7])
@leaping
async def test_nodes_that_begin_at_once_end_with_one_connection_to_each(count: int) -> None:
    async with world() as w:
        nodes = await village(w, count)
        await until(lambda: all_see_all(nodes), timeout=MINUTE)
        for node in nodes:
            records = [record for record in node._node.peers._roster if record.is_connected]
            assert [len(record.connections) for record in records] == [1] * (count - 1)
