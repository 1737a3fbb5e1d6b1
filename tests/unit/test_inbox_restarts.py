"""The receiving half over restarts, with more than fits in memory, and on a disk that fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.inbox_world import PlayedStream, Trouble, inbox_world, mid, opened
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.wire.frames import Position

# --- restarts


@leaping
async def test_after_a_crash_what_was_not_handled_is_handled_and_says_that_it_may_have_been(tmp_path: Path) -> None:
    async with inbox_world(await opened(tmp_path / "store"), crash=True) as w:

        async def never_ends(message: Message[Any]) -> None:
            await asyncio.Event().wait()

        w.subscribe(never_ends)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        await stream.until_stored(2)
    got: list[tuple[int, int]] = []
    async with inbox_world(await opened(tmp_path / "store")) as w:
        w.subscribe(lambda message: got.append((message.payload, message.attempt)))
        await w.until(lambda: len(got) == 2)
        assert got == [(1, 2), (2, 2)]
        stream = PlayedStream(w)
        assert (await stream.greet()).stored == Position(2, mid(2))
        await stream.until_told(2)


@leaping
async def test_after_an_orderly_stop_only_what_was_in_a_handlers_hands_counts_as_tried(tmp_path: Path) -> None:
    async with inbox_world(await opened(tmp_path / "store")) as w:

        async def never_ends(message: Message[Any]) -> None:
            await asyncio.Event().wait()

        w.subscribe(never_ends)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        await stream.until_stored(2)
        await asyncio.sleep(1)
    got: list[tuple[int, int]] = []
    async with inbox_world(await opened(tmp_path / "store")) as w:
        w.subscribe(lambda message: got.append((message.payload, message.attempt)))
        await w.until(lambda: len(got) == 2)
        assert got == [(1, 2), (2, 1)]


@leaping
async def test_more_than_fits_in_memory_is_read_from_the_store_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with inbox_world(await opened(tmp_path / "store")) as w:
        monkeypatch.setattr(w.dispatcher._runner.backlogs, "_max_messages", 10)
        got: list[int] = []

        async def slow(message: Message[Any]) -> None:
            await asyncio.sleep(0.01)
            got.append(message.payload)

        w.subscribe(slow)
        stream = PlayedStream(w)
        await stream.greet()
        for first in range(1, 1_000, 100):
            stream.send(*range(first, first + 100))
            await asyncio.sleep(0.3)
        await stream.until_told(1_000)
        assert got == list(range(1, 1_001))
        assert w.dispatcher.queued()["lanes_behind"] == 0


@leaping
async def test_a_sender_whose_messages_fill_the_inbox_is_read_again_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with inbox_world(await opened()) as w:
        monkeypatch.setattr(w.dispatcher.journal.holdings, "_max_messages", 5)
        gate = asyncio.Event()

        async def waits(message: Message[Any]) -> None:
            await gate.wait()

        w.subscribe(waits)
        stream, other = PlayedStream(w), PlayedStream(w, "cleo")
        await stream.greet()
        await other.greet()
        stream.send(1, 2, 3, 4, 5)
        await stream.until_stored(5)
        stream.send(6)
        other.send(1)
        await other.until_stored(1)
        assert (stream.stored, stream.credit) == (Position(5, mid(5)), 5)
        gate.set()
        await stream.until_told(6)


# --- a store that fails


@leaping
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_disk_that_fails_for_a_while_means_no_acknowledgement_and_no_loss(when: str) -> None:
    trouble = Trouble()
    async with inbox_world(await opened(faults=trouble)) as w:
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        stream = PlayedStream(w)
        await stream.greet()
        setattr(trouble, when, 3)
        stream.send(1, 2)
        await asyncio.sleep(0.15)
        assert (stream.stored, stream.credit) == (None, 0)
        await stream.until_stored(2)
        stream.send(3)
        await stream.until_stored(3)
        setattr(trouble, when, 2)
        stream.send(4)
        await stream.until_told(4)
        assert got == [1, 2, 3, 4]
        await w.settled()
        assert await w.entries() == []
