"""The daemon's list of received messages: on disk, bounded by count and by bytes, and honest to slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from covm.control.schema import MessageLine
from covm.daemon.received import BATCH, COUNT_LIMIT, SIZE_LIMIT_BYTES, ReceivedMessages
from covm.federation import Link, Message
from covm.federation.store import make_store
from covm.federation.store.interface import Store
from covm.federation.wire.incarnation import Incarnation


def message(number: int, payload: Any = "rye", type_name: str = "shop.note") -> Message[Any]:
    return Message(
        id=f"{number:032x}",
        type=type_name,
        author="12D3KooWFarm",
        to=None,
        via="gossip",
        payload=payload,
        sent_at_ms=0,
        incarnation=Incarnation(1, bytes(8)),
        seq=number,
    )


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = make_store(None)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def received(store: Store) -> ReceivedMessages:
    kept = ReceivedMessages(store.write, lambda peer: "Farm")
    await kept.open()
    return kept


async def keep(store: Store, received: ReceivedMessages, *messages: Message[Any]) -> None:
    """The messages come, all in one transaction."""

    def job(tx: Any) -> None:
        for each in messages:
            received.take(each, tx)

    await store.write(job)


async def test_the_oldest_go_and_are_counted(store: Store, received: ReceivedMessages) -> None:
    await keep(store, received, *(message(number) for number in range(COUNT_LIMIT + 5)))
    answer = await received.newest(None, COUNT_LIMIT)
    assert (len(answer.messages), answer.forgotten) == (COUNT_LIMIT, 5)
    assert answer.messages[0].id == message(5).id


async def test_large_messages_are_bounded_by_their_bytes(store: Store, received: ReceivedMessages) -> None:
    megabyte = "x" * 1024 * 1024
    for number in range(40):
        await keep(store, received, message(number, megabyte))
    kept = (await received.newest(None, COUNT_LIMIT)).messages
    assert sum(len(each.payload) for each in kept) <= SIZE_LIMIT_BYTES
    assert len(kept) == 15
    assert kept[-1].id == message(39).id


async def test_the_newest_is_held_whatever_its_size(store: Store, received: ReceivedMessages) -> None:
    await keep(store, received, message(1), message(2, "\x01" * (SIZE_LIMIT_BYTES // 4)))
    assert [each.id for each in (await received.newest(None, 10)).messages] == [message(2).id]


async def test_bytes_and_links_are_spelled_as_dag_json_does(store: Store, received: ReceivedMessages) -> None:
    cid = "bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    await keep(store, received, message(1, {"key": b"\x00\xff", "link": Link(cid)}))
    [kept] = (await received.newest(None, 10)).messages
    assert b'"key":{"/":{"bytes":"AP8"}}' in bytes(kept.payload)
    assert f'"link":{{"/":"{cid}"}}'.encode() in bytes(kept.payload)


async def test_any_text_is_kept_as_it_is(store: Store, received: ReceivedMessages) -> None:
    await keep(store, received, message(1, "nul \x00, Gruß, 你好, \u202e"))
    [kept] = (await received.newest(None, 10)).messages
    assert bytes(kept.payload) == '"nul \\u0000, Gruß, 你好, \u202e"'.encode()


async def test_what_was_kept_is_there_for_the_next_process(store: Store, received: ReceivedMessages) -> None:
    await keep(store, received, message(1), message(2))
    again = ReceivedMessages(store.write, lambda peer: "")
    await again.open()
    await keep(store, again, message(3))
    kept = (await again.newest(None, 10)).messages
    assert [each.id for each in kept] == [message(number).id for number in (1, 2, 3)]
    # Its name is what it went by when the message came.
    assert [each.author_name for each in kept] == ["Farm", "Farm", ""]


async def test_what_is_undone_was_never_kept(store: Store, received: ReceivedMessages) -> None:
    def job(tx: Any) -> None:
        received.take(message(1), tx)
        raise RuntimeError("another handler failed")

    with pytest.raises(RuntimeError):
        await store.write(job)
    await keep(store, received, message(2))
    answer = await received.newest(None, 10)
    assert ([each.id for each in answer.messages], answer.forgotten) == ([message(2).id], 0)


async def test_a_follower_sees_one_type_from_the_latest_on(store: Store, received: ReceivedMessages) -> None:
    await keep(store, received, *(message(number) for number in range(3)))
    following = received.follow("shop.note", 1)
    assert (await anext(following)).message.id == message(2).id
    await keep(store, received, message(3, type_name="shop.other"), message(4))
    assert (await anext(following)).message.id == message(4).id


async def test_a_follower_gets_more_than_one_batch_in_order(store: Store, received: ReceivedMessages) -> None:
    following = received.follow(None, 0)
    first = await _soon(following, store, received)
    await keep(store, received, *(message(number) for number in range(1, 2 * BATCH + 2)))
    seen = [first.message.id] + [(await anext(following)).message.id for _ in range(2 * BATCH + 1)]
    assert seen == [message(number).id for number in range(2 * BATCH + 2)]


async def test_a_follower_too_slow_is_told_what_it_missed(store: Store, received: ReceivedMessages) -> None:
    await keep(store, received, message(0))
    following = received.follow(None, 1)
    await anext(following)
    await keep(store, received, *(message(number) for number in range(1, COUNT_LIMIT + 8)))
    line: MessageLine = await anext(following)
    assert line.skipped == 7
    assert line.message.id == message(8).id


async def _soon(following: AsyncIterator[MessageLine], store: Store, received: ReceivedMessages) -> MessageLine:
    """The first line of a follower that waits, woken by message 0."""
    waiting = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    await keep(store, received, message(0))
    return await waiting
