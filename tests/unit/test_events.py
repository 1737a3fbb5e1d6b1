"""Several tasks may read one stream: each event goes to one of them, the end to all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from covm.federation.events import Event, EventStream, PeerRecovered
from covm.federation.gossip.log import GossipLogEntry, GossipLogStream

STREAMS = [EventStream, lambda: GossipLogStream(None)]


def thing(stream: EventStream | GossipLogStream, name: str) -> Any:
    """Something that the stream hands on, told apart by its name."""
    if isinstance(stream, EventStream):
        return PeerRecovered(name)
    return GossipLogEntry(1, "in", "shop.note", name, "", "", 1, "accept", "")


async def all_of(stream: AsyncIterator[Any]) -> list[Event | GossipLogEntry]:
    return [event async for event in stream]


async def until_all_wait(readers: list[asyncio.Task[Any]]) -> None:
    """Lets every reader run until it can do no more."""
    for _ in range(3 * len(readers)):
        await asyncio.sleep(0)


@pytest.mark.parametrize("made", STREAMS, ids=["events", "gossip log"])
async def test_two_tasks_share_a_stream_and_both_end_with_it(made: Callable[[], Any]) -> None:
    stream = made()
    readers = [asyncio.create_task(all_of(stream)) for _ in range(2)]
    await until_all_wait(readers)
    sent = [thing(stream, f"12D3KooW{number}") for number in range(6)]
    for one in sent:
        stream.push(one)
        await until_all_wait(readers)
    stream.close()
    read = await asyncio.wait_for(asyncio.gather(*readers), 10)
    assert sorted(read[0] + read[1], key=sent.index) == sent
    assert all(read)


@pytest.mark.parametrize("made", STREAMS, ids=["events", "gossip log"])
async def test_events_in_one_breath_wake_as_many_readers(made: Callable[[], Any]) -> None:
    stream = made()
    readers = [asyncio.create_task(anext(stream)) for _ in range(3)]
    await until_all_wait(readers)
    sent = [thing(stream, f"12D3KooW{number}") for number in range(3)]
    for one in sent:
        stream.push(one)
    assert sorted(await asyncio.wait_for(asyncio.gather(*readers), 10), key=sent.index) == sent


@pytest.mark.parametrize("when", ["before", "just before", "just after"])
@pytest.mark.parametrize("made", STREAMS, ids=["events", "gossip log"])
async def test_a_reader_that_is_cancelled_takes_no_event_with_it(made: Callable[[], Any], when: str) -> None:
    stream = made()
    gone, reader = (asyncio.create_task(anext(stream)) for _ in range(2))
    await until_all_wait([gone, reader])
    event = thing(stream, "12D3KooWFarm")
    if when == "just after":
        stream.push(event)
    gone.cancel()
    if when == "before":
        await until_all_wait([gone])
    if when != "just after":
        stream.push(event)
    assert await asyncio.wait_for(reader, 10) == event
    assert gone.cancelled()
