"""The rules that both directions of delivery share, by calling them: lanes, receipts, subscriptions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from covm.federation.dispatch.lanes import Lanes
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.subscriptions import Subscription, Subscriptions
from covm.federation.errors import DeliveryTimeout, MessageRefused


def receipt(number: int) -> Receipt:
    return Receipt(number.to_bytes(16, "big"), "ben", "a.note", 60.0)


def test_a_lane_that_waits_gets_the_slot_of_one_that_finished() -> None:
    lanes: Lanes[int] = Lanes(slots=1)
    one, other = ("ada", "a.note"), ("ben", "a.note")
    assert lanes.push(one, 1)
    assert not lanes.push(one, 2)
    assert not lanes.push(other, 3)
    assert lanes.pop(one) == 1
    assert lanes.finish(one) == other, "after its turn a lane goes to the end"
    assert (lanes.pop(other), lanes.pop(other)) == (3, None)
    assert lanes.finish(other) == one
    assert (lanes.pop(one), lanes.queued) == (2, 0)
    assert lanes.finish(one) is None
    assert one not in lanes


async def test_a_receipt_tells_its_waiters_and_keeps_its_last_word() -> None:
    sent = receipt(1)
    waiting = asyncio.create_task(sent.stored())
    await asyncio.sleep(0)
    sent.advance("stored")
    await waiting
    sent.advance("refused", "no oven")
    sent.advance("handled")
    assert (sent.state, sent.reason) == ("refused", "no oven")
    with pytest.raises(MessageRefused, match="no oven"):
        await sent.handled()


async def test_a_receipt_that_waits_in_vain_says_for_what() -> None:
    with pytest.raises(DeliveryTimeout, match="not handled") as late:
        await receipt(1).handled(timeout=timedelta(0))
    assert isinstance(late.value, TimeoutError)
    assert late.value.state == "queued"


async def test_an_expired_receipt_follows_what_the_receiver_says_later() -> None:
    sent = receipt(1)
    sent.advance("expired")
    sent.advance("handled")
    await sent.stored()
    await sent.handled()


def test_handlers_keep_their_order_and_leave_by_subscription_or_by_function() -> None:
    subscriptions = Subscriptions()

    def one(message: object) -> None: ...

    def other(message: object) -> None: ...

    first = subscriptions.add(Subscription("a.note", one, None))
    subscriptions.add(Subscription("a.note", other, "other"))
    subscriptions.add(Subscription("b.note", other, None))
    assert subscriptions.names()["a.note"] == [first.name, "other"]
    assert subscriptions.remove(other) == 2
    assert subscriptions.remove(first) == 1
    assert subscriptions.names() == {}


def test_two_handlers_of_a_type_have_two_names() -> None:
    subscriptions = Subscriptions()

    def archive(message: object) -> None: ...

    for name in (None, "test", "archive", "archive", "archive"):
        subscriptions.add(Subscription("a.note", archive, name))
    assert subscriptions.names()["a.note"][1:] == ["test", "archive", "archive-2", "archive-3"]
    subscriptions.add(Subscription("b.note", archive, "archive"))
    assert subscriptions.names()["b.note"] == ["archive"], "another type is another name"
