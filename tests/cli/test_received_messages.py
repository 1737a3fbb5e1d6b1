"""The daemon's list of received messages: bounded by count and by bytes, and honest to slow readers."""

from __future__ import annotations

from typing import Any

from covm.control.schema import MessageLine
from covm.daemon.received import COUNT_LIMIT, SIZE_LIMIT_BYTES, ReceivedMessages
from covm.federation import Link, Message
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


def held() -> ReceivedMessages:
    return ReceivedMessages(lambda peer: "Farm")


def test_the_oldest_go_and_are_counted() -> None:
    received = held()
    for number in range(COUNT_LIMIT + 5):
        received.take(message(number))
    answer = received.newest(None, COUNT_LIMIT)
    assert (len(answer.messages), answer.forgotten) == (COUNT_LIMIT, 5)
    assert answer.messages[0].id == message(5).id


def test_large_messages_are_bounded_by_their_bytes() -> None:
    received = held()
    megabyte = "x" * 1024 * 1024
    for number in range(40):
        received.take(message(number, megabyte))
    kept = received.newest(None, COUNT_LIMIT).messages
    assert sum(len(each.payload) for each in kept) <= SIZE_LIMIT_BYTES
    assert kept[-1].id == message(39).id


def test_the_newest_is_held_whatever_its_size() -> None:
    received = held()
    received.take(message(1, "\x01" * (SIZE_LIMIT_BYTES // 4)))
    assert len(received.newest(None, 10).messages) == 1


def test_bytes_and_links_are_spelled_as_dag_json_does() -> None:
    cid = "bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    received = held()
    received.take(message(1, {"key": b"\x00\xff", "link": Link(cid)}))
    [kept] = received.newest(None, 10).messages
    assert b'"key":{"/":{"bytes":"AP8"}}' in bytes(kept.payload)
    assert f'"link":{{"/":"{cid}"}}'.encode() in bytes(kept.payload)


async def test_a_follower_sees_one_type_from_the_latest_on() -> None:
    received = held()
    for number in range(3):
        received.take(message(number))
    following = received.follow("shop.note", 1)
    assert (await anext(following)).message.id == message(2).id
    received.take(message(3, type_name="shop.other"))
    received.take(message(4))
    assert (await anext(following)).message.id == message(4).id


async def test_a_follower_too_slow_is_told_what_it_missed() -> None:
    received = held()
    received.take(message(0))
    following = received.follow(None, 1)
    await anext(following)
    for number in range(1, COUNT_LIMIT + 8):
        received.take(message(number))
    line: MessageLine = await anext(following)
    assert line.skipped == 7
    assert line.message.id == message(8).id
