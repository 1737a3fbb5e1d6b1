"""What is sent is never lost and never silently gone, whatever happens to either side. Told from the sender's side."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.unit.outbox_world import LONG, NOTE, in_time, post, violations, virtually

from covm.federation.dispatch import tables
from covm.federation.errors import (
    NotStarted,
    OutboxFull,
    StoreError,
    UnknownMessage,
    UnknownPeer,
)
from covm.federation.events import PeerRolledBack, RolledBack
from covm.federation.identity import Identity
from covm.testing.disk import DiskFaults


@virtually
async def test_a_message_is_on_disk_when_send_returns_and_arrives_handled() -> None:
    async with post() as p:
        (receipt,) = await p.send("weeds")
        assert p.outbox() == [(1, tables.QUEUED)]
        await receipt.stored()
        await receipt.handled()
        assert p.received == ["weeds"]


@virtually
async def test_what_is_sent_to_a_peer_that_is_away_arrives_when_it_is_back() -> None:
    async with post() as p:
        await p.ben.stop()
        receipts = await p.send(*range(600))
        await p.world.sleep(timedelta(minutes=10))
        assert {receipt.state for receipt in receipts} == {"queued"}
        await p.ben.start()
        await receipts[-1].handled(LONG)
        assert p.received == list(range(600))


@virtually
async def test_what_is_sent_outlives_a_crash_of_the_sender_and_is_followed_by_its_id() -> None:
    async with post() as p:
        p.apart()
        receipts = await p.send(*range(5))
        ids = [receipt.id for receipt in receipts]
        p.ada.crash()
        await p.ada.start()
        again = [await p.ada.service._node.direct.receipt(each) for each in ids]
        assert [receipt.state for receipt in again] == ["queued"] * 5
        await p.together()
        for receipt in again:
            await receipt.handled(LONG)
        assert p.received == list(range(5))


@virtually
async def test_a_receipt_of_an_earlier_life_knows_what_became_of_the_message() -> None:
    async with post() as p:
        (receipt,) = await p.send("weeds")
        await receipt.handled()
        await asyncio.sleep(1)
        await p.ada.stop()
        await p.ada.start()
        again = await p.ada.service._node.direct.receipt(receipt.id)
        assert again.state == "handled"
        with pytest.raises(UnknownMessage):
            await p.ada.service._node.direct.receipt("ab" * 16)


@virtually
async def test_the_incarnation_and_the_sequence_go_on_over_a_restart() -> None:
    async with post() as p:
        (first,) = await p.send("first")
        await first.handled()
        before = p.ada.disk.query("SELECT number, nonce FROM covm_lines_out")
        p.ada.crash()
        await p.ada.start()
        await p.connected()
        (second,) = await p.send("second")
        await second.handled(LONG)
        assert p.ada.disk.query("SELECT number, nonce FROM covm_lines_out") == before
        assert p.outbox("seq") == [(1,), (2,)]
        assert violations(p.ben) == violations(p.ada) == {}


@virtually
async def test_a_commit_that_fails_is_told_and_leaves_no_gap() -> None:
    async with post() as p:
        p.ada.disk.faults = DiskFaults(errors=1.0)
        with pytest.raises(StoreError):
            await p.send("lost, and said so")
        p.ada.disk.faults = DiskFaults()
        (receipt,) = await p.send("kept")
        await receipt.handled(LONG)
        assert p.received == ["kept"]
        assert p.outbox("seq") == [(1,)]


@virtually
async def test_a_commit_that_failed_in_word_alone_leaves_no_gap_and_no_number_twice() -> None:
    async with post() as p:
        p.ada.disk.faults = DiskFaults(errors=1.0, doubts=1.0)
        with pytest.raises(StoreError):
            await p.send("in doubt")
        p.ada.disk.faults = DiskFaults()
        (receipt,) = await p.send("certain")
        await receipt.handled(LONG)
        assert p.received == ["in doubt", "certain"]
        assert p.outbox("seq") == [(1,), (2,)]


@virtually
async def test_acknowledgements_that_cannot_be_written_are_written_when_there_is_room_again() -> None:
    async with post() as p:
        receipts = await p.send(*range(20))
        p.ada.disk.faults = DiskFaults(errors=1.0)
        for receipt in receipts:
            await receipt.handled(LONG)
        await asyncio.sleep(30)
        p.ada.disk.faults = DiskFaults()
        await in_time(lambda: {state for _, state in p.outbox()} == {tables.HANDLED})
        await in_time(lambda: not p.ben.disk.query("SELECT * FROM covm_outcomes"))


@virtually
async def test_who_waits_while_the_node_stops_learns_it_and_the_message_goes_on_after_the_next_start() -> None:
    async with post() as p:
        p.apart()
        (receipt,) = await p.send("weeds")
        waiting = p.world.loop.create_task(receipt.handled(LONG))
        await asyncio.sleep(1)
        await p.ada.stop()
        with pytest.raises(NotStarted):
            await waiting
        await p.ada.start()
        await p.together()
        await in_time(lambda: p.received == ["weeds"])


@virtually
async def test_a_send_that_is_cancelled_breaks_nothing_for_the_others() -> None:
    async with post() as p:
        p.ada.disk.faults = DiskFaults(fastest_s=1.0, slowest_s=1.0)
        sends = [p.ada.spawn(p.ada.service.send_direct(p.ben.peer_id, NOTE, each)) for each in range(6)]
        await asyncio.sleep(0.5)
        sends += [p.ada.spawn(p.ada.service.send_direct(p.ben.peer_id, NOTE, each)) for each in range(6, 12)]
        await asyncio.sleep(0.1)
        for each in (1, 3, 7, 8):
            sends[each].cancel()
        for each in (0, 2, 4, 5, 6, 9, 10, 11):
            await (await sends[each]).handled(LONG)
        kept = [each for each in p.received if each not in (1, 3, 7, 8)]
        assert kept == [0, 2, 4, 5, 6, 9, 10, 11]
        assert p.received == sorted(p.received)


@virtually
async def test_a_full_outbox_says_so_and_takes_messages_again_when_it_has_room() -> None:
    async with post(outbox_max_messages=10) as p:
        p.apart()
        await p.send(*range(10))
        with pytest.raises(OutboxFull):
            await p.send("too much")
        await p.together()
        await in_time(lambda: len(p.received) == 10)
        (receipt,) = await p.send("room again")
        await receipt.handled(LONG)


@virtually
async def test_a_peer_of_whom_nobody_ever_heard_is_unknown() -> None:
    async with post() as p:
        with pytest.raises(UnknownPeer):
            await p.ada.service.send_direct(Identity.from_seed(b"n" * 32).peer_id, NOTE, 1)


# --- old backups


@virtually
@pytest.mark.parametrize("restored", [True, False])
async def test_a_sender_that_was_rolled_back_begins_anew_and_nothing_new_is_mistaken_for_old(restored: bool) -> None:
    async with post() as p:
        for receipt in await p.send(1, 2, 3):
            await receipt.handled()
        await asyncio.sleep(1)
        old = p.ada.disk.snapshot()
        for receipt in await p.send(4, 5):
            await receipt.handled()
        await p.ada.stop()
        p.ada.disk.roll_back(old, restored=restored)
        await p.ada.start()
        await p.connected()
        for receipt in await p.send(6, 7):
            await receipt.handled(LONG)
        assert p.received == [1, 2, 3, 4, 5, 6, 7]
        assert len(p.told(RolledBack)) == (0 if restored else 1)
        assert violations(p.ada) == violations(p.ben) == {}


@virtually
@pytest.mark.parametrize("end", ["expired", "cancelled"])
async def test_a_sender_that_forgot_that_it_skipped_a_message_does_not_take_it_for_stored(end: str) -> None:
    async with post() as p:
        (first,) = await p.send(1)
        await first.handled()
        p.apart()
        (skipped,) = await p.send(2, time_to_live=timedelta(minutes=1 if end == "expired" else 60))
        await asyncio.sleep(1)
        old = p.ada.disk.snapshot()
        if end == "cancelled":
            await p.ada.service.outbox.cancel(skipped.id)
        await in_time(lambda: skipped.state == end)
        await p.together()
        await in_time(lambda: p.ada.disk.query("SELECT acked_seq FROM covm_lines_out") == [(2,)])
        await p.ada.stop()
        p.ada.disk.roll_back(old, restored=False)
        await p.ada.start()
        await p.connected()
        (after,) = await p.send(3)
        await after.handled(LONG)
        assert len(p.told(RolledBack)) == 1
        # Its end is forgotten, too: so it goes out with what is pending.
        await (await p.ada.service.receipt(skipped.id)).handled(LONG)
        assert p.received == [1, 2, 3]
        assert violations(p.ada) == violations(p.ben) == {}


@virtually
async def test_what_was_pending_in_the_old_incarnation_is_sent_under_the_new_one_in_order() -> None:
    async with post() as p:
        for receipt in await p.send(*range(10)):
            await receipt.handled()
        p.apart()
        await p.send(*range(10, 1500))
        await asyncio.sleep(1)
        old = p.ada.disk.snapshot()
        await p.send(*range(1500, 1600))
        await p.together()
        await in_time(lambda: len(p.received) == 1600)
        await p.ada.stop()
        p.ada.disk.roll_back(old, restored=False)
        p.apart()
        await p.ada.start()
        await p.send(*range(1600, 1650))
        await p.together()
        receipts = await p.send(*range(1650, 1700))
        await receipts[-1].handled(LONG)
        assert p.received == list(range(1700)), "what had arrived has no second effect"
        assert len(p.told(RolledBack)) == 1
        assert violations(p.ada) == {}
        assert violations(p.ben) == {"repeated": 1490}


@virtually
async def test_a_receiver_that_was_rolled_back_gets_what_is_still_held() -> None:
    async with post() as p:
        for receipt in await p.send(*range(5)):
            await receipt.handled()
        await asyncio.sleep(1)
        old = p.ben.disk.snapshot()
        for receipt in await p.send(*range(5, 10)):
            await receipt.handled()
        await p.ben.stop()
        p.ben.disk.roll_back(old, restored=False)
        await p.ben.start()
        await p.connected()
        (receipt,) = await p.send("after")
        await receipt.handled(LONG)
        assert p.received == [*range(10), *range(5, 10), "after"]
        assert [(event.acknowledged, event.stored) for event in p.told(PeerRolledBack)] == [(10, 5)]
        assert violations(p.ada) == violations(p.ben) == {}


@virtually
async def test_a_receiver_that_lost_everything_goes_on_with_what_is_new() -> None:
    async with post() as p:
        empty = p.ben.disk.snapshot()
        receipts = await p.send(*range(2000))
        await receipts[-1].handled(LONG)
        await asyncio.sleep(5)
        await p.ben.stop()
        p.ben.disk.roll_back(empty, restored=False)
        p.received.clear()
        await p.ben.start()
        await p.connected()
        (receipt,) = await p.send("after")
        await receipt.handled(LONG)
        assert p.received[-1] == "after"
        assert p.received[:-1] == list(range(2000))[-(len(p.received) - 1) :], "the latest are still held"
        assert len(p.received) > 256
        assert violations(p.ada) == violations(p.ben) == {}
