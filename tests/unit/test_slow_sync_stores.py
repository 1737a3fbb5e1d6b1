"""An application's store that does not return is told of, and waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.members_world import in_time
from tests.unit.outbox_world import virtually
from tests.unit.service_world import Heard
from tests.unit.test_sync_stories import NOTE, all_have, eventually, met, notes
from tests.unit.test_sync_types import NOTES, Shelf

from covm.federation import SyncChange, errors
from covm.federation.events import SyncStoreSlow
from covm.testing.world import World


@virtually
async def test_a_store_that_does_not_return_is_told_of_and_nobody_waits_for_it_without_a_word() -> None:
    async with World(names=["mill", "shop"]) as world:
        await met(world)
        mill, shop = world.machines
        go_on = asyncio.Event()

        class Stuck(Shelf):
            async def apply(self, change: SyncChange[Any]) -> None:  # type: ignore[override]
                await go_on.wait()
                super().apply(change)

        shelf, heard = Stuck(), Heard(shop.service)
        await shop.service.register_sync_type(NOTES, shelf, types=[NOTE])
        await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([shop], "oven", "hot"))
        why = f"the store of the sync type {NOTES} has been busy with 'oven' of {NOTE} for 30 s"
        with pytest.raises(errors.SyncStoreBusy, match=why):
            await shop.service.request_sync(NOTES)
        with pytest.raises(errors.SyncStoreBusy):
            await shop.service.request_sync(NOTES, "oven")
        [applied] = (await shop.service.get_sync_status(NOTES)).applied
        assert (applied.error.startswith(why), applied.behind) == (True, 1)
        [slow] = heard.of(SyncStoreSlow)
        assert (slow.name, slow.type, slow.key) == (NOTES, NOTE, "oven")
        go_on.set()
        await in_time(lambda: "oven" in shelf.kept)
        assert await shop.service.request_sync(NOTES, "oven") == "hot"
        [applied] = (await shop.service.get_sync_status(NOTES)).applied
        assert (applied.error, applied.behind) == ("", 0)
