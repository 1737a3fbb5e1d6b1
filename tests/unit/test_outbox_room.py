"""Room in the outbox: what has come to its end takes none, however long its peer stays away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.unit.outbox_world import NOTE, in_time, post, virtually

from covm.federation.dispatch import upkeep
from covm.federation.errors import OutboxFull

SHORT = timedelta(seconds=5)


@virtually
async def test_messages_that_expired_make_room_for_others_to_the_same_peer() -> None:
    async with post(outbox_max_messages=20) as story:
        story.apart()
        receipts = await story.send(*range(20), time_to_live=SHORT)
        with pytest.raises(OutboxFull):
            await story.send("one too many")
        await in_time(lambda: {receipt.state for receipt in receipts} == {"expired"})
        late = await story.send(*range(100, 120))
        with pytest.raises(OutboxFull):
            await story.send("one too many")
        await story.together()
        await asyncio.gather(*(receipt.handled(timedelta(minutes=5)) for receipt in late))
        assert story.received == list(range(100, 120))
        assert story.ada.service.get_peer_info(story.ben.peer_id).queued == 0
        # What was skipped is counted off once: there is room for as many as before.
        story.apart()
        await story.send(*range(200, 220))
        with pytest.raises(OutboxFull):
            await story.send("one too many")


@virtually
async def test_a_cancelled_message_makes_room_at_once() -> None:
    async with post(outbox_max_messages=3) as story:
        story.apart()
        first, *_ = await story.send(1, 2, 3)
        await story.ada.service.outbox.cancel(first.id)
        await story.send(4)
        with pytest.raises(OutboxFull):
            await story.send(5)
        await story.together()
        await in_time(lambda: story.received == [2, 3, 4])


@virtually
async def test_one_peer_that_never_comes_back_does_not_stop_what_goes_to_others_after_a_restart() -> None:
    async with post(outbox_max_messages=20) as story:
        story.apart()
        await story.send(*range(20), time_to_live=SHORT)
        await in_time(lambda: all(state == 4 for (state,) in story.outbox("state")))
        await story.ada.stop()
        await story.ada.start()
        await in_time(lambda: story.ada.service.peers()[0].queued == 0)
        await story.ada.service.send_direct(story.ben.peer_id, NOTE, "room again")


@virtually
async def test_what_ended_for_a_peer_that_stays_away_is_forgotten_beyond_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "HISTORY_MESSAGES", 5)
    async with post(outbox_max_messages=20) as story:
        story.apart()
        await story.send(*range(20), time_to_live=SHORT)
        await in_time(lambda: len(story.outbox("state")) == 5)
        [late] = await story.send("the rye is ready")
        await story.together()
        await late.handled(timedelta(minutes=5))
        assert story.received == ["the rye is ready"]
