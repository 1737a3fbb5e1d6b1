"""Sync streams on which a peer says what no honest node says: it pays, and honest nodes sync meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.blob_peer import charges
from tests.adversarial.sync_peer import (
    NOTE,
    ROOT,
    SyncPeer,
    chain,
    dropped,
    scene,
    still_syncs,
)
from tests.unit.members_world import in_time, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import notes

from covm._native import cid, encode
from covm.federation.errors import SyncInterrupted
from covm.federation.identity.roles import Role
from covm.federation.sync import library, serving, shares
from covm.federation.wire.sync_frames import (
    MAX_HAVE,
    MAX_WANTS,
    NoSync,
    Probe,
    SyncHello,
    SyncNews,
    SyncRequest,
    SyncResponse,
    Wanted,
)

HELLO = SyncHello((1, 0))


def probe(path: bytes = b"", bitmap: int = 0, digests: bytes = b"") -> SyncRequest:
    return SyncRequest(number=1, type=NOTE, probes=[Probe(path, bitmap, digests)])


def answered(peer: SyncPeer, stream: int) -> list[SyncResponse]:
    return [frame for frame in peer.said_on(stream) if isinstance(frame, SyncResponse)]


def raw_probe(path: bytes) -> bytes:
    """A question that no frame can be made of."""
    return encode({"t": "request", "number": 1, "type": NOTE, "probes": [[path, 0, b""]], "wants": []})


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"\xff"], "malformed_frame"),
        ([probe()], "frame_before_hello"),
        ([HELLO, HELLO], "second_hello"),
        ([SyncHello((9, 0))], "unknown_version"),
        ([HELLO, SyncResponse(number=1)], "answer_on_asking_half"),
        ([HELLO, SyncNews([(NOTE, ROOT)])], "answer_on_asking_half"),
        ([HELLO, NoSync(1, "no")], "answer_on_asking_half"),
        ([HELLO, raw_probe(bytes(65))], "malformed_frame"),
        ([HELLO, *[probe()] * (serving.MAX_QUESTIONS + 2)], "too_many_questions"),
    ],
)
@virtually
async def test_what_no_honest_node_asks_ends_the_stream_and_is_charged(frames: list[Any], reason: str) -> None:
    async with scene() as world:
        victim, _ = world.machines
        charged = charges(victim.service)
        peer = await SyncPeer.join(world, victim)
        stream = await peer.open(victim, greets=False)
        peer.say(stream, *frames)
        await in_time(lambda: peer.is_closed(stream))
        assert dropped(victim, reason) == 1
        assert charged[peer.peer] == 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([HELLO, b"\xff"], "malformed_frame"),
        ([SyncNews([(NOTE, ROOT)])], "frame_before_hello"),
        ([HELLO, HELLO], "second_hello"),
        ([SyncHello((9, 0))], "unknown_version"),
        ([HELLO, probe()], "want_on_answering_half"),
    ],
)
@virtually
async def test_what_no_honest_node_answers_ends_the_stream_and_is_charged(frames: list[Any], reason: str) -> None:
    async with scene() as world:
        victim, _ = world.machines
        charged = charges(victim.service)
        peer = await SyncPeer.join(world, victim, roots=None)
        peer.say(peer.theirs[0], *frames)
        await in_time(lambda: peer.is_closed(peer.theirs[0]))
        assert dropped(victim, reason) == 1
        assert charged[peer.peer] == 1
        await in_time(lambda: len(peer.theirs) == 2)


@virtually
async def test_answers_to_what_was_not_asked_change_nothing() -> None:
    async with scene() as world:
        victim, _ = world.machines
        author, records = chain(2)
        peer = await SyncPeer.join(world, victim)
        for number in range(300):
            peer.say(peer.theirs[0], SyncResponse(number=number, records=author.carried(*records)))
        await still_syncs(world)
        assert victim.service._node.sync.keeper.logs.get(records[0].body.log) is None


@virtually
async def test_a_stream_that_says_no_hello_is_closed_and_not_one_more_is_left_open_each_time() -> None:
    async with scene() as world:
        victim, _ = world.machines
        peer = await SyncPeer.join(world, victim, roots=None)
        await in_time(lambda: len(peer.theirs) > 5)
        assert sum(not peer.is_closed(stream) for stream in peer.theirs) <= 1
        assert len([one for one in victim.service._node.sync.streams._streams.values() if one.peer == peer.peer]) <= 1


@virtually
async def test_questions_about_no_place_of_the_trie_are_not_answered_and_harm_nothing() -> None:
    async with scene() as world:
        victim, _ = world.machines
        peer = await SyncPeer.join(world, victim)
        stream = await peer.open(victim)
        odd = [
            probe(bitmap=0xFFFF, digests=b"too few"),
            probe(bitmap=0, digests=bytes(16)),
            probe(bytes(64), 0xFFFF, bytes(16 * 16)),
            probe(bytes(63)),
            probe(b"\x10"),
            probe(b"\x01\xff"),
        ]
        peer.say(stream, *odd)
        await in_time(lambda: len(peer.said_on(stream)) == 1 + len(odd))
        peer.say(stream, probe())
        await in_time(lambda: len(peer.said_on(stream)) == 2 + len(odd))
        last = peer.said_on(stream)[-1]
        assert len(last.found[0].told) == 2


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_a_question_that_names_more_records_than_it_may_is_not_looked_up(
    monkeypatch: pytest.MonkeyPatch, defended: bool
) -> None:
    if not defended:
        monkeypatch.setattr(library, "MAX_HAVES", 10**9)
    async with scene() as world:
        victim, _ = world.machines
        log = next(iter(victim.service._node.sync.keeper.logs)).link
        peer = await SyncPeer.join(world, victim)
        stream = await peer.open(victim)
        have = [cid(b"%d" % number) for number in range(MAX_HAVE - 70)]
        wants = [Wanted(log, have, deep=False)] * MAX_WANTS
        peer.say(stream, SyncRequest(number=1, type=NOTE, wants=wants))
        await in_time(lambda: len(peer.said_on(stream)) == 2)
        assert isinstance(peer.said_on(stream)[-1], NoSync) == defended


@virtually
async def test_one_who_asks_for_everything_for_ever_gets_a_bounded_answer_to_each_question_while_others_sync() -> None:
    async with scene() as world:
        victim, _ = world.machines
        for number in range(48):
            await notes(victim).put(f"large {number}", "x" * 50_000)
        peer = await SyncPeer.join(world, victim)
        stream = await peer.open(victim)
        log = next(log for log in victim.service._node.sync.keeper.logs if log.author == victim.peer_id).link
        wants = [Wanted(log, [], deep=True)] * MAX_WANTS
        for number in range(40):
            peer.say(stream, SyncRequest(number=number, type=NOTE, wants=wants))
            await in_time(lambda number=number: len(answered(peer, stream)) == 1 + number)  # type: ignore[misc]
            if number % 10 == 0:
                await still_syncs(world)
        for answer in answered(peer, stream):
            size = sum(len(each.envelope) + len(each.body or b"") for each in answer.records)
            assert size <= library.MAX_ANSWER_BYTES
            assert answer.more


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_one_who_asks_for_more_than_there_is_gets_no_more_and_is_charged_if_it_goes_on(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "LEAST_AN_HOUR", 10 if defended else 1_000_000)
    monkeypatch.setattr(shares, "HOUR_S", 600.0)
    async with scene() as world:
        victim, _ = world.machines
        for number in range(100):
            await notes(victim).put(f"note {number}", number)
        charged = charges(victim.service)
        peer = await SyncPeer.join(world, victim)
        stream = await peer.open(victim)
        log = next(log for log in victim.service._node.sync.keeper.logs if log.author == victim.peer_id).link
        everything = [Wanted(log, [], deep=True)]
        for number in range(30):
            if not peer.is_closed(stream):
                peer.say(stream, SyncRequest(number=number, type=NOTE, wants=everything))
            await in_time(lambda number=number: len(peer.said_on(stream)) >= 2 + number or peer.is_closed(stream))  # type: ignore[misc]
        served = sum(len(answer.records) for answer in answered(peer, stream))
        assert (served <= 4 * 110) is defended
        assert peer.is_closed(stream) is defended
        assert charged[peer.peer] == int(defended)
        await world.sleep(timedelta(minutes=8))
        again = await peer.open(victim) if defended else stream
        before = len(answered(peer, again))
        peer.say(again, SyncRequest(number=30, type=NOTE, wants=everything))
        await in_time(lambda: len(answered(peer, again)) == before + 1)


@virtually
async def test_one_who_reads_no_answers_holds_up_itself_alone() -> None:
    async with scene() as world:
        victim, _ = world.machines
        for number in range(48):
            await notes(victim).put(f"large {number}", "x" * 50_000)
        peer = await SyncPeer.join(world, victim)
        stream = await peer.open(victim)
        peer.releases = False
        log = next(log for log in victim.service._node.sync.keeper.logs if log.author == victim.peer_id).link
        for number in range(serving.MAX_QUESTIONS):
            peer.say(stream, SyncRequest(number=number, type=NOTE, wants=[Wanted(log, [], deep=True)]))
        await still_syncs(world)
        assert len(peer.said_on(stream)) < serving.MAX_QUESTIONS


@virtually
async def test_of_a_type_that_it_may_not_read_a_peer_is_told_nothing() -> None:
    secret = "accounts.entry"
    books = {
        "member": Role(publish=("*",), send=("*",), read=("notes.*",), write=("notes.*",)),
        "bookkeeper": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    }
    async with valley(("mill", "farm"), ("shop",), roles=books, founder_roles=("bookkeeper",)) as v:
        await v.joined("shop", by="mill")
        mill, shop = v["mill"], v["shop"]
        await notes(mill, secret).put("1", 100)
        log = next(iter(mill.service._node.sync.keeper.logs)).link
        asker = shop.service._node.sync.streams.partners[mill.peer_id].asker
        wants = [Wanted(log, [], deep=True)]
        for request in (
            SyncRequest(number=0, type=secret, probes=[Probe(b"", 0, b"")]),
            SyncRequest(number=0, type=secret, wants=wants),
        ):
            with pytest.raises(SyncInterrupted, match="nothing of that type for you"):
                await asker.ask(request)
        assert (await asker.ask(SyncRequest(number=0, type=NOTE, wants=wants))).records == []
        assert mill.service._node.sync.roots(shop.peer_id) == []
