"""What a program may ask wrongly of shared data: it is told what, why and what to try, and nothing else suffers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.outbox_world import virtually
from tests.unit.test_durable_types import Price
from tests.unit.test_sync_stories import notes

from covm.federation.dispatch.subscriptions import Subscription
from covm.federation.errors import InvalidMessage, UnknownCursor
from covm.federation.sync.collection import Collection
from covm.federation.sync.entries import Entry, Version
from covm.federation.wire.record import Place
from covm.testing.world import World

USES: dict[str, Callable[[Collection[Any], Any], Awaitable[object]]] = {
    "put": lambda notes, key: notes.put(key, 1),
    "get": lambda notes, key: notes.get(key),
    "delete": lambda notes, key: notes.delete(key),
    "resolve": lambda notes, key: notes.resolve(key, 1),
    "history": lambda notes, key: notes.history(key),
    "entries": lambda notes, key: notes.entries([key]),
}


@virtually
async def test_what_is_no_key_is_refused_by_every_method_in_the_same_words() -> None:
    async with World(names=["mill"]) as world:
        await world.start_all()
        for use in USES.values():
            for key, why in (
                ("ov\0en", "no NUL"),
                ("\ud800", "half of a surrogate pair"),
                ("", "1 to 256 characters, not 0"),
                ("k" * 257, "1 to 256 characters, not 257"),
                (None, "a key is text, as in 'shared-oven', not NoneType"),
                (5, "not int"),
            ):
                with pytest.raises(InvalidMessage, match=why) as refused:
                    await use(notes(world.machines[0]), key)
                assert refused.value.path == "key"
        for prefix, after in (("ov\0", ""), ("", "\ud800")):
            with pytest.raises(InvalidMessage, match="a key"):
                await notes(world.machines[0]).list(prefix, after)


@virtually
async def test_a_write_that_cannot_be_written_fails_alone_and_those_beside_it_are_written() -> None:
    async with World(names=["mill"]) as world:
        await world.start_all()
        mine = notes(world.machines[0])
        base = await mine.put("base", 1)
        strange = Entry("strange", None, (replace(base, place=Place(base.place.log, 1, "no id")),), False, "")  # type: ignore[arg-type]
        for bad in (
            mine.put("\ud800", 1),
            mine.put("bad", "\ud800"),
            mine.put("bad", 2**70),
            mine.put("strange", 1, based_on=strange),
            mine.put("bad", "x" * 2_000_000),
        ):
            writes = (mine.put("first", 1), bad, mine.put("last", 1))
            became: list[object] = [*await asyncio.gather(*writes, return_exceptions=True)]
            assert [type(each) is Version for each in became] == [True, False, True], became
        assert [each.key for each in await mine.list()] == ["base", "first", "last"]
        assert [len(await mine.history(key)) for key in ("first", "last", "bad")] == [5, 5, 0]


@virtually
async def test_what_is_no_argument_is_named_with_what_to_hand_over() -> None:
    async with World(names=["mill"], types=[Price]) as world:
        await world.start_all()
        mine: Any = notes(world.machines[0])
        prices: Any = world.machines[0].service.collection(Price)
        version = await mine.put("oven", 1)
        strange: Any = 5
        mistakes: list[tuple[Callable[[], Awaitable[object]], str, str]] = [
            (lambda: mine.erase(version, strange), "reason", "is a text, for people; not int"),
            (lambda: mine.erase(strange, "why"), "version", "a Version of this collection, or its id; not int"),
            (lambda: mine.history("oven", strange), "version", "not int"),
            (lambda: mine.put("oven", 2, based_on=version), "based_on", "an Entry, as `get` returns one; not Version"),
            (lambda: mine.delete("oven", based_on=version), "based_on", "not Version"),
            (lambda: prices.put("flour", None), "payload", r"use delete\(\)"),
            (lambda: mine.list(limit=-1), "limit", "as in 100; not -1"),
            (lambda: mine.list(limit="x"), "limit", "not 'x'"),
            (lambda: mine.conflicts(limit=-1), "limit", "not -1"),
            (lambda: anext(mine.changes(after="x")), "after", "not 'x'"),
            (lambda: anext(mine.changes(after=-1)), "after", "not -1"),
        ]
        for use, path, why in mistakes:
            with pytest.raises(InvalidMessage, match=why) as refused:
                await use()
            assert refused.value.path == path
        assert [len(await mine.list(limit=limit)) for limit in (0, 1)] == [0, 1]
        assert len(await mine.history("oven")) == 1, "nothing was written"


@virtually
async def test_a_cursor_from_before_a_restore_is_told_and_not_waited_for() -> None:
    async with World(names=["mill"]) as world:
        await world.start_all()
        mine = notes(world.machines[0])
        await mine.put("oven", 1)
        last = (await anext(mine.changes())).cursor
        for ahead in (last + 1, 10**6, 10**30):
            with pytest.raises(UnknownCursor, match=rf"has the number {last}: .* begin anew with changes\(after=0\)"):
                await anext(mine.changes(after=ahead))
        following = mine.changes(after=last)
        coming = asyncio.ensure_future(anext(following))
        await mine.put("oven", 2)
        assert (await coming).version.value == 2, "the last cursor is no mistake"


def test_a_handler_is_called_what_every_store_can_hold() -> None:
    with pytest.raises(ValueError, match="is no handler's name"):
        Subscription("notes.note", lambda _: None, "arch\0ive")
