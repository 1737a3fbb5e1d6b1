"""The end of a message's life: it expires, is given up, is tried again, and its sender is told what came of it."""

from __future__ import annotations

import asyncio
import gc
from datetime import timedelta
from functools import partial

import pytest
from tests.unit.outbox_world import LONG, NOTE, in_time, post, violations, virtually

from covm.federation.dispatch import tables, upkeep
from covm.federation.dispatch.transaction import Tx
from covm.federation.errors import MessageCancelled, MessageExpired, NotRetriable, StoreError
from covm.testing.disk import DiskFaults


def send_many(tx: Tx, peer: str) -> list[str]:
    return [tx.send_direct(peer, NOTE, number) for number in range(1000)]


def refuse(message: object) -> None:
    raise RuntimeError("the oven is cold")


@virtually
async def test_what_expires_is_said_and_does_not_block_what_is_behind_it() -> None:
    async with post() as p:
        p.apart()
        short = await p.send(1, 2, time_to_live=timedelta(minutes=1))
        (long,) = await p.send("long")
        tail = await p.send(4, time_to_live=timedelta(minutes=1))
        for receipt in [*short, *tail]:
            with pytest.raises(MessageExpired):
                await receipt.stored(LONG)
        await p.together()
        await long.handled(LONG)
        (after,) = await p.send("after")
        await after.handled(LONG)
        assert p.received == ["long", "after"]
        assert violations(p.ben) == {}


@virtually
async def test_what_expired_in_an_earlier_life_of_the_sender_is_skipped_too() -> None:
    async with post() as p:
        p.apart()
        await p.send(1, time_to_live=timedelta(minutes=1))
        (long,) = await p.send("long")
        await asyncio.sleep(120)
        p.ada.crash()
        await p.ada.start()
        await p.together()
        await in_time(lambda: p.received == ["long"])
        await in_time(lambda: p.outbox() == [(1, tables.EXPIRED), (2, tables.HANDLED)])
        assert long.state == "queued", "it belongs to a life that is over"


@virtually
async def test_a_message_that_expired_under_way_follows_what_the_receiver_says() -> None:
    async with post() as p:
        # Ben's disk takes so long that the message's time is over before he can acknowledge it.
        p.ben.disk.faults = DiskFaults(fastest_s=30.0, slowest_s=30.0)
        (receipt,) = await p.send("late", time_to_live=timedelta(seconds=10))
        with pytest.raises(MessageExpired):
            await receipt.stored(timedelta(seconds=20))
        await in_time(lambda: receipt.state == "handled")
        assert p.received == ["late"]
        await in_time(lambda: p.outbox() == [(1, tables.HANDLED)])


@virtually
async def test_nothing_expires_because_the_wall_clock_was_set_forward() -> None:
    async with post() as p:
        p.apart()
        (receipt,) = await p.send("weeds", time_to_live=timedelta(minutes=10))
        p.ada.clock.jump(timedelta(days=11))
        await p.world.sleep(timedelta(minutes=5))
        assert receipt.state == "queued"
        await p.together()
        await receipt.handled(LONG)


@virtually
async def test_a_message_that_is_cancelled_never_arrives_and_can_be_sent_again() -> None:
    async with post() as p:
        desk = p.ada.service._node.direct.desk
        p.apart()
        first, second, third = await p.send(1, 2, 3)
        assert (await desk.cancel(second.id)).state == "cancelled"
        with pytest.raises(MessageCancelled):
            await second.stored()
        await p.together()
        await third.handled(LONG)
        assert p.received == [1, 3]
        again = await desk.retry(second.id)
        assert again is second
        await again.handled(LONG)
        assert p.received == [1, 3, 2]
        assert (await desk.cancel(first.id)).state == "handled", "what is over stays as it is"


@virtually
async def test_a_cancelled_message_that_is_sent_again_at_once_arrives_once() -> None:
    async with post() as p:
        desk = p.ada.service._node.direct.desk
        p.apart()
        receipts = await p.send(1, 2, 3)
        await desk.cancel(receipts[1].id)
        await desk.retry(receipts[1].id)
        await p.together()
        for receipt in receipts:
            await receipt.handled(LONG)
        assert p.received == [1, 3, 2]
        assert violations(p.ben) == {}


@virtually
@pytest.mark.parametrize("outcome", ["handled", "quarantined"])
@pytest.mark.parametrize("held", [True, False])
async def test_a_message_that_is_given_up_again_follows_what_becomes_of_its_first_sending(
    outcome: str, held: bool
) -> None:
    async with post(handler_attempts=1) as p:
        if outcome == "quarantined":
            p.ben.service.subscribe(NOTE, refuse, name="oven")
        # Ben's disk takes so long that the message is under way when it is given up, sent again, and given up again.
        p.ben.disk.faults = DiskFaults(fastest_s=30.0, slowest_s=30.0)
        first, between, last = await p.send(1, 2, 3)
        await asyncio.sleep(1)
        p.apart()
        outbox = p.ada.service.outbox
        assert (await outbox.cancel(between.id)).state == "cancelled"
        await outbox.retry(between.id)
        assert (await outbox.cancel(between.id)).state == "cancelled"
        if not held:
            # Who asks for it anew follows it as well.
            message_id = between.id
            del between
            gc.collect()
            between = await p.ada.service.receipt(message_id)
        assert between.state == "cancelled"
        p.ben.disk.faults = DiskFaults()
        await asyncio.sleep(60)
        await p.together()
        await in_time(lambda: {each.state for each in (first, between, last)} == {outcome})
        await asyncio.sleep(60)
        assert p.received == [1, 2, 3]
        listed = await outbox.listed()
        assert [each.state for each in listed] == [outcome] * 3, "one entry each"
        assert (await outbox.show(between.id)).state == outcome
        assert violations(p.ada) == violations(p.ben) == {}


@virtually
async def test_what_is_tried_again_while_its_first_sending_arrives_cannot_be_called_back() -> None:
    async with post() as p:
        p.handles = False
        await p.ben.stop()
        await p.ben.start()
        await p.connected()
        p.ben.disk.faults = DiskFaults(fastest_s=30.0, slowest_s=30.0)
        (receipt,) = await p.send(1)
        await asyncio.sleep(1)
        outbox = p.ada.service.outbox
        await outbox.cancel(receipt.id)
        await outbox.retry(receipt.id)
        await in_time(lambda: receipt.state == "stored")
        assert (await outbox.cancel(receipt.id)).state == "stored"
        assert receipt.state == "stored"
        p.ben.disk.faults = DiskFaults()
        await asyncio.sleep(60)
        p.ben.service.subscribe(NOTE, lambda message: p.received.append(message.payload), name="note")
        await receipt.handled(LONG)
        assert p.received == [1]
        assert violations(p.ada) == {}


@virtually
@pytest.mark.parametrize("life", ["this life", "the next life"])
async def test_what_is_stored_cannot_be_called_back_while_its_receiver_is_asked_what_became_of_it(life: str) -> None:
    async with post() as p:
        p.handles = False
        await p.ben.stop()
        await p.ben.start()
        await p.connected()
        (receipt,) = await p.send(1)
        await receipt.stored(LONG)
        # It is asked again, at a new place, and Ben cannot answer.
        p.ben.disk.faults = DiskFaults(errors=1.0)
        await in_time(lambda: p.outbox("seq") == [(2,)])
        p.apart()
        if life == "the next life":
            p.ada.crash()
            await p.ada.start()
            receipt = await p.ada.service.receipt(receipt.id)
        outbox = p.ada.service.outbox
        assert receipt.state == "stored"
        assert (await outbox.cancel(receipt.id)).state == "stored"
        assert [each.id for each in await outbox.listed(state="stored")] == [receipt.id]
        assert await outbox.listed(state="queued") == []
        p.ben.disk.faults = DiskFaults()
        p.ben.service.subscribe(NOTE, lambda message: p.received.append(message.payload), name="note")
        await in_time(lambda: p.received == [1])
        await p.together()
        await receipt.handled(LONG)
        # The receipt is told at once, the disk a moment later.
        await in_time(lambda: p.outbox("state") == [(tables.HANDLED,)])
        assert (await outbox.show(receipt.id)).state == "handled"
        assert p.received == [1]
        assert violations(p.ada) == {}


@virtually
@pytest.mark.parametrize("staged", ["in a transaction", "behind others"])
async def test_a_message_that_is_cancelled_before_it_has_its_place_is_cancelled_for_whoever_asks(staged: str) -> None:
    async with post() as p:
        p.apart()
        service, outbox = p.ada.service, p.ada.service.outbox
        sent: list[str] = []
        for _ in range(2):
            await service.transaction(lambda tx: sent.extend(send_many(tx, p.ben.peer_id)))
        message_id = sent[-2]
        if staged == "behind others":
            (behind,) = await p.send("behind")
            message_id = behind.id
        assert message_id in [mid.hex() for (mid,) in p.ada.disk.query("SELECT mid FROM covm_staged")]
        assert (await outbox.cancel(message_id)).state == "cancelled"
        assert (await outbox.show(message_id)).state == "cancelled"
        receipt = await service.receipt(message_id)
        assert receipt.state == "cancelled"
        await p.together()
        await in_time(lambda: len(p.received) == len(sent) - (staged == "in a transaction"))
        p.ada.crash()
        await p.ada.start()
        assert (await p.ada.service.receipt(message_id)).state == "cancelled"


@virtually
@pytest.mark.parametrize("end", ["expired", "cancelled"])
async def test_an_end_whose_commit_failed_in_word_alone_is_told_when_the_disk_answers_again(end: str) -> None:
    async with post() as p:
        p.apart()
        (receipt,) = await p.send(1, time_to_live=timedelta(minutes=1 if end == "expired" else 60))
        p.ada.disk.faults = DiskFaults(errors=1.0, doubts=1.0)
        if end == "cancelled":
            with pytest.raises(StoreError):
                await p.ada.service.outbox.cancel(receipt.id)
        await asyncio.sleep(90)
        p.ada.disk.faults = DiskFaults()
        await in_time(lambda: receipt.state == end)


@virtually
async def test_an_end_in_doubt_is_told_as_it_is_when_its_skip_was_acknowledged_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "PERIOD_S", 3600.0)
    async with post() as p:
        p.apart()
        first, second = await p.send(1, 2)
        p.ada.disk.faults = DiskFaults(errors=1.0, doubts=1.0)
        with pytest.raises(StoreError):
            await p.ada.service.outbox.cancel(first.id)
        p.ada.disk.faults = DiskFaults()
        await p.together()
        await second.handled(LONG)
        await in_time(lambda: first.state == "cancelled")
        assert p.received == [2]
        await asyncio.sleep(60)
        assert p.outbox() == [(1, tables.CANCELLED), (2, tables.HANDLED)]


@virtually
async def test_a_message_whose_id_its_receiver_may_have_forgotten_is_not_sent_again_under_it() -> None:
    async with post() as p:
        desk = p.ada.service._node.direct.desk
        p.apart()
        (receipt,) = await p.send(1, time_to_live=timedelta(minutes=1))
        with pytest.raises(MessageExpired):
            await receipt.stored(LONG)
        p.ada.clock.jump(timedelta(hours=13))
        with pytest.raises(NotRetriable, match=r"is expired .*; send it anew"):
            await desk.retry(receipt.id)


@virtually
async def test_only_what_came_to_another_end_is_tried_again_and_anything_else_is_told_how_it_is() -> None:
    async with post() as p:
        outbox = p.ada.service.outbox
        (handled,) = await p.send(1)
        await handled.handled(LONG)
        await p.ben.stop()
        p.handles = False
        await p.ben.start()
        await p.connected()
        (stored,) = await p.send(2)
        await stored.stored(LONG)
        p.apart()
        (queued,) = await p.send(3)
        staged = (await p.ada.service.transaction(partial(send_many, peer=p.ben.peer_id)))[-1]
        ids = {handled.id: "handled", stored.id: "stored", queued.id: "queued", staged: "queued"}
        for message_id, state in ids.items():
            with pytest.raises(NotRetriable, match=f"{message_id} is {state} and is not tried again: only") as refused:
                await outbox.retry(message_id)
            assert (refused.value.message_id, refused.value.state) == (message_id, state)


@virtually
async def test_a_message_that_its_own_disk_damaged_is_given_up_with_the_reason_and_blocks_nothing() -> None:
    async with post() as p:
        p.apart()
        receipts = await p.send(1, 2, 3)
        [(envelope,)] = p.ada.disk.query("SELECT envelope FROM covm_outbox WHERE seq = 2")
        flipped = bytes([*envelope[:-1], envelope[-1] ^ 1])
        p.ada.disk.query("UPDATE covm_outbox SET envelope = ? WHERE seq = 2", (flipped,))
        await p.together()
        await in_time(lambda: p.received == [1, 3])
        await in_time(lambda: [receipt.state for receipt in receipts] == ["handled", "refused", "handled"])
        assert "damaged on this node's disk" in receipts[1].reason


@virtually
async def test_while_the_receivers_disk_is_full_its_sender_can_see_why_nothing_arrives() -> None:
    async with post() as p:
        p.ben.disk.faults = DiskFaults(is_full=True)
        receipts = await p.send(*(["x" * 60_000] * 20))
        await in_time(lambda: p.ada.service.get_peer_info(p.ben.peer_id).last_error == "its disk is full")
        (waiting,) = await p.ada.service.outbox.summary()
        assert waiting.last_error == "its disk is full"
        assert p.ada.service.get_peer_info(p.ben.peer_id).is_connected
        p.ben.disk.faults = DiskFaults()
        for receipt in receipts:
            await receipt.handled(LONG)
        assert p.ada.service.get_peer_info(p.ben.peer_id).last_error == ""
        assert await p.ada.service.outbox.summary() == []
