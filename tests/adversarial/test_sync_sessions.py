"""Peers that lie to who asks them: about what they have, and with what they deliver."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.blob_peer import charges
from tests.adversarial.sync_peer import (
    A_WHILE,
    LINK,
    NOTE,
    ROOT,
    Scribbler,
    SyncPeer,
    chain,
    dropped,
    holding,
    scene,
    still_syncs,
    told,
)
from tests.unit.members_world import in_time
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import all_have, eventually

from covm._native import Link, cid
from covm.federation.sync import held, leases, library, session
from covm.federation.sync.frontier import Frontier
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.sync_frames import (
    Carried,
    Found,
    Inner,
    SyncNews,
    SyncRequest,
    SyncResponse,
    Tip,
    Told,
)
from covm.testing import DiskFaults
from covm.testing.machine import Machine
from covm.testing.world import World


@virtually
async def test_a_trie_that_says_that_it_differs_and_has_nothing_is_looked_through_once() -> None:
    async with scene() as world:
        victim, _ = world.machines
        peer = await SyncPeer.join(world, victim)
        peer.answers = lambda request: [
            SyncResponse(number=request.number, found=[Found(each.path, [], []) for each in request.probes])
        ]
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: peer.asked)
        await still_syncs(world)
        count = len(peer.asked)
        await world.sleep(A_WHILE)
        assert len(peer.asked) == count <= 2


@virtually
async def test_a_trie_without_an_end_ends() -> None:
    async with scene() as world:
        victim, _ = world.machines
        charged = charges(victim.service)
        peer = await SyncPeer.join(world, victim)

        def answers(request: SyncRequest) -> Sequence[SyncResponse]:
            inner = [Inner(child, 0xFFFF, bytes([9]) * 256) for child in range(16)]
            return [
                SyncResponse(number=request.number, found=[Found(each.path, inner, []) for each in request.probes[:64]])
            ]

        peer.answers = answers
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: dropped(victim, "sync_contradicted"))
        assert charged[peer.peer] == 1


@pytest.mark.parametrize(
    "found",
    [
        [],
        [Found(b"\x01\x02", [], [])],
        [Found(b"", [], []), Found(b"", [], [])],
        [Found(b"", [Inner(1, 0xFFFF, b"")], [])],
        [Found(b"", [Inner(1, 0, b"")], [])],
        [Found(b"", [], [Told(LINK, (Tip(1, LINK),)), Told(LINK, (Tip(1, LINK),))])],
        [Found(b"", [], [Told(LINK, (Tip(2, LINK), Tip(1, LINK)))])],
    ],
)
@virtually
async def test_answers_that_contradict_themselves_are_charged(found: list[Found]) -> None:
    async with scene() as world:
        victim, _ = world.machines
        charged = charges(victim.service)
        peer = await SyncPeer.join(
            world, victim, answers=lambda request: [SyncResponse(number=request.number, found=found)]
        )
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: dropped(victim, "sync_contradicted"))
        assert charged[peer.peer] == 1
        assert peer.is_closed(peer.theirs[0])


@virtually
async def test_of_logs_of_a_length_that_cannot_be_nobody_is_told_how_much_is_lacking() -> None:
    async with scene() as world:
        victim, _ = world.machines
        endless = [Told(cid(bytes([number])), (Tip(2**63 - 1, LINK),)) for number in range(4)]

        def answers(request: SyncRequest) -> Sequence[SyncResponse]:
            return [SyncResponse(number=request.number, found=[Found(b"", [], endless)])] if request.probes else ()

        peer = await SyncPeer.join(world, victim, answers=answers)
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: any(request.wants for request in peer.asked))
        [replica] = (await victim.service.get_sync_status(NOTE)).replicas
        [standing] = [each for each in replica.peers if each.peer == peer.peer]
        assert (standing.lacking, standing.position) == (None, "behind")
        assert victim.service.sync_progress(NOTE).lacking == 0, "of what the others have nothing is lacking"


@virtually
async def test_logs_that_are_told_and_not_delivered_are_not_asked_for_again() -> None:
    async with scene() as world:
        victim, _ = world.machines
        _, records = chain(3)
        peer = await SyncPeer.join(world, victim, answers=holding(records[-1], lambda _request: []))
        for number in range(5):
            peer.say(peer.theirs[0], SyncNews([(NOTE, bytes([number]) * 32)]))
            await world.sleep(A_WHILE)
        assert len([request for request in peer.asked if request.wants]) == 1


@pytest.mark.parametrize(
    "which",
    ["garbage", "another size", "not signed", "another log", "another type", "another federation", "another body"],
)
@virtually
async def test_what_is_no_record_or_was_not_asked_for_is_charged_and_not_kept(which: str) -> None:
    async with scene() as world:
        victim, _ = world.machines
        charged = charges(victim.service)
        author, records = chain(1)
        other = Scribbler("someone else")
        sent = {
            "garbage": [Carried(b"garbage", None)],
            "another size": [Carried(records[0].envelope, b"longer than it says" * 9)],
            "not signed": [Carried(records[0].envelope[:-1] + b"?", author.bodies[records[0].id])],
            "another log": other.carried(other.write("oven", 1)),
            "another type": author.carried(author.write("oven", 1, type="other.type")),
            "another federation": author.carried(author.write("oven", 1, federation=LINK)),
            "another body": [Carried(records[0].envelope, bytes(records[0].body.size))],
        }[which]
        peer = await SyncPeer.join(world, victim, answers=holding(records[-1], lambda _request: sent))
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        reason = "malformed_frame" if which in ("garbage", "another size") else "sync_garbage"
        await in_time(lambda: dropped(victim, reason))
        assert charged[peer.peer] == 1
        assert {log.author for log in victim.service._node.sync.keeper.logs} == {
            each.peer_id for each in world.machines
        }


@virtually
async def test_what_a_staller_does_not_deliver_comes_from_another() -> None:
    async with scene() as world:
        victim, _ = world.machines
        author, records = chain(3)
        staller = await SyncPeer.join(world, victim)
        staller.answers = lambda request: holding(records[-1], lambda _request: [])(request) if request.probes else ()
        staller.say(staller.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: any(request.wants for request in staller.asked))
        other = await SyncPeer.join(
            world, victim, 67, answers=holding(records[-1], lambda _request: author.carried(*records))
        )
        other.say(other.theirs[0], SyncNews([(NOTE, ROOT)]))
        await eventually(lambda: all_have(world.machines, "mallory 2", 2))


def holding_of(machine: Machine) -> Frontier:
    return machine.service._node.sync.keeper.logs.frontier(NOTE)


async def hold(machine: Machine, *records: SignedRecord) -> None:
    """A machine has got these records, from wherever."""
    await machine.service._node.sync.keeper.take([each.envelope for each in records], [None] * len(records))


@virtually
async def test_a_log_that_was_forked_far_back_comes_to_the_same_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_ANSWER_BYTES", 3_000)
    async with World(names=["victim", "honest"]) as world:
        victim, honest = world.machines
        author, trunk = chain(100)
        branches = [branch_of(author, trunk[-1], length, name) for length, name in ((300, "one"), (170, "two"))]
        await victim.start()
        await hold(victim, *trunk, *branches[0])
        await honest.start()
        await hold(honest, *trunk, *branches[1])
        await in_time(lambda: holding_of(victim).root == holding_of(honest).root)
        assert len(holding_of(victim).get(trunk[0].body.log)) == 2


@virtually
async def test_logs_forked_so_often_that_one_question_cannot_name_all_of_it_are_asked_for_in_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (library, session):
        monkeypatch.setattr(module, "MAX_HAVES", 150)
    async with World(names=["victim", "honest"]) as world:
        victim, honest = world.machines
        await victim.start()
        forks: dict[int, list[SignedRecord]] = {0: [], 1: []}
        for number in range(5):
            author, first = chain(1, f"mallory {number}")
            for fork in range(12):
                forks[fork % 2] += [*first, *branch_of(author, first[0], 40, f"fork {fork}")]
        await hold(victim, *forks[0])
        await honest.start()
        await hold(honest, *forks[1])
        await in_time(lambda: holding_of(victim).root == holding_of(honest).root, timedelta(minutes=5))


def branch_of(author: Scribbler, after: SignedRecord, length: int, name: str) -> list[SignedRecord]:
    records = [author.write(f"{name} 0", 0, after=after)]
    for number in range(1, length):
        records.append(author.write(f"{name} {number}", number, after=records[-1]))
    return records


@virtually
async def test_what_has_no_room_to_wait_is_offered_again_until_what_it_waits_for_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 0)
    async with scene() as world:
        victim, honest = world.machines
        base, late = Scribbler("base"), Scribbler("late")
        first = base.write("oven", 1)
        based = late.write("oven", 2, on=[first])
        peer = await SyncPeer.join(world, victim, answers=holding(based, lambda _request: late.carried(based)))
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: dropped(victim, "record_postponed"))
        standing = victim.service._node.sync.standings(NOTE)[peer.peer]
        await in_time(lambda: "too many records wait" in standing.error)
        assert standing.declined == {}
        await hold(honest, first)
        frontier = victim.service._node.sync.keeper.logs
        await in_time(lambda: frontier.get(based.body.log) is not None)


@virtually
async def test_who_answers_slowly_what_another_has_brought_meanwhile_is_asked_for_the_rest() -> None:
    async with scene() as world:
        victim, _ = world.machines
        (author, [one]), (other, [two]) = chain(1, "one"), chain(1, "two")
        slow = await SyncPeer.join(world, victim)

        def slowly(request: SyncRequest) -> Sequence[SyncResponse]:
            if request.probes:
                return [SyncResponse(number=request.number, found=[Found(b"", [], [told(one), told(two)])])]
            if len(slow.asked) == 2:
                return ()
            return [SyncResponse(number=request.number, records=other.carried(two))]

        slow.answers = slowly
        slow.say(slow.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: len(slow.asked) == 2)
        await world.sleep(timedelta(seconds=leases.LEASE_S + 1))
        quick = await SyncPeer.join(world, victim, 67, answers=holding(one, lambda _request: author.carried(one)))
        quick.say(quick.theirs[0], SyncNews([(NOTE, ROOT)]))
        await eventually(lambda: all_have(world.machines, "one 0", 0))
        slow.say(slow.theirs[0], SyncResponse(number=slow.asked[1].number, records=author.carried(one)))
        await eventually(lambda: all_have(world.machines, "two 0", 0))


def in_parts(records: Sequence[SignedRecord], author: Scribbler, *, forgets: bool = False) -> Any:
    """Answers with the first record of a log, says that there are more, and gives those to who names it."""

    def answers(request: SyncRequest) -> Sequence[SyncResponse]:
        if request.probes:
            return [SyncResponse(number=request.number, found=[Found(b"", [], [told(records[-1])])])]
        is_first = forgets or request.wants[0].have != [records[0].id]
        part = records[:1] if is_first else records[1:]
        return [SyncResponse(number=request.number, records=author.carried(*part), more=is_first)]

    return answers


def named(peer: SyncPeer) -> list[list[Link]]:
    """What the victim named as held, in each question."""
    return [request.wants[0].have for request in peer.asked if request.wants]


@virtually
async def test_what_follows_an_answer_is_asked_for_while_that_is_written() -> None:
    async with scene() as world:
        victim, _ = world.machines
        author, records = chain(3)
        peer = await SyncPeer.join(world, victim, answers=in_parts(records, author))
        victim.disk.faults = DiskFaults(fastest_s=2.0, slowest_s=2.0)
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await in_time(lambda: named(peer) == [[], [records[0].id]])
        assert victim.service._node.sync.keeper.logs.get(records[0].body.log) is None
        victim.disk.faults = DiskFaults()
        await eventually(lambda: all_have(world.machines, "mallory 2", 2))
        assert len(named(peer)) == 2


@virtually
async def test_one_who_says_for_ever_that_there_is_more_is_asked_once_too_often() -> None:
    async with scene() as world:
        victim, _ = world.machines
        author, records = chain(3)
        peer = await SyncPeer.join(world, victim, answers=in_parts(records, author, forgets=True))
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await world.sleep(A_WHILE)
        assert named(peer) == [[], [records[0].id], [records[0].id]]


def two_logs() -> tuple[tuple[Scribbler, SignedRecord], tuple[Scribbler, SignedRecord]]:
    """Two authors with a record each, in the order in which their logs are asked for."""
    logs = [(author, author.write(author.name, 1)) for author in (Scribbler("ash"), Scribbler("birch"))]
    first, last = sorted(logs, key=lambda each: each[1].body.log.bytes)
    return first, last


@virtually
async def test_logs_that_an_answer_did_not_get_to_are_asked_for_though_it_brought_nothing() -> None:
    (author, begun), (other, wanted) = two_logs()
    nowhere = author.write("a gap", 2, prev=LINK, seq=2)

    def answers(request: SyncRequest) -> Sequence[SyncResponse]:
        if request.probes:
            found = [Found(b"", [], [told(nowhere), told(wanted)])]
            return [SyncResponse(number=request.number, found=found)]
        if begun.body.log in [each.log for each in request.wants]:
            return [SyncResponse(number=request.number, records=author.carried(nowhere), more=True)]
        return [SyncResponse(number=request.number, records=other.carried(wanted))]

    async with scene() as world:
        victim, _ = world.machines
        peer = await SyncPeer.join(world, victim, answers=answers)
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await eventually(lambda: all_have([victim], wanted.body.key, 1))


@virtually
async def test_a_log_that_was_asked_for_ahead_and_is_here_by_then_ends_no_session() -> None:
    (author, begun), (_, never) = two_logs()

    def answers(request: SyncRequest) -> Sequence[SyncResponse]:
        if request.probes:
            found = [Found(b"", [], [told(begun), told(never)])]
            return [SyncResponse(number=request.number, found=found)]
        if any(each.log == begun.body.log and not each.have for each in request.wants):
            return [SyncResponse(number=request.number, records=author.carried(begun), more=True)]
        return [SyncResponse(number=request.number)]

    async with scene() as world:
        victim, _ = world.machines
        peer = await SyncPeer.join(world, victim, answers=answers)
        peer.say(peer.theirs[0], SyncNews([(NOTE, ROOT)]))
        await world.sleep(A_WHILE)
        [replica] = (await victim.service.get_sync_status(NOTE)).replicas
        assert [each.error for each in replica.peers if each.peer == peer.peer] == [""]
