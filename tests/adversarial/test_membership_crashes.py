"""A crash of who invites or of who joins, between any two steps: it is in, or the invite is as good as before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import pytest
from tests.adversarial.knocker import ledger_of
from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.outbox_world import virtually

from covm.federation.membership import tables
from covm.testing.disk import DiskFaults
from covm.testing.loop import virtual_loop
from covm.testing.machine import Crashed

STEPS = range(0, 400, 19)
"""Of the loop, after the machine that joins has started: the redemption takes some three hundred."""


@asynccontextmanager
async def redemption() -> AsyncIterator[tuple[Valley, str]]:
    async with valley() as v:
        yield v, await v.desk("mill").invite(v["mill"].service.addresses)


async def in_the_end_it_is_in(v: Valley) -> None:
    """Nothing is half done, and everybody holds the same."""
    await in_time(lambda: v["shop"].is_up and v.is_in("shop") and sees(v["shop"], v["mill"]), timedelta(minutes=20))
    await in_time(lambda: v.agree("mill", "farm", "shop") and sees(v["shop"], v["farm"]), timedelta(minutes=20))
    for name in ("mill", "farm", "shop"):
        ledger = ledger_of(v, name)
        # One admission, and one approval of it, whatever was tried again.
        assert (len(ledger.credentials), len(ledger.approvals)) == (1, 1)
        assert v[name].service.stats()["faults"] == 0
    await in_time(lambda: v["shop"].disk.query("SELECT 1 FROM covm_meta WHERE key = 'invite'") == [])
    assert v["mill"].disk.query("SELECT used_by FROM covm_invites") == [(f'["{v.coops["shop"].member}"]',)]


async def prepared(v: Valley, link: str) -> None:
    """The shop has the invite and is not started yet."""
    coop = v.coops["shop"]
    await v.write("shop", partial(tables.save_invited, link=link, entries=[coop.inception], own=coop.member))


async def tried(v: Valley) -> None:
    with suppress(Crashed):
        await v["shop"].start()


@pytest.mark.parametrize("who", ["mill", "shop"])
@virtually
async def test_a_crash_between_any_two_steps_of_a_redemption_leaves_nothing_half_done(who: str) -> None:
    outcomes = set()
    for steps in STEPS:
        async with redemption() as (v, link):
            machine = v[who]
            await prepared(v, link)
            virtual_loop().interrupt_after(steps, machine.crash)
            await tried(v)
            await in_time(lambda machine=machine: not machine.is_up, timedelta(minutes=1))  # type: ignore[misc]
            outcomes.add(v["mill"].disk.query("SELECT used_by FROM covm_invites")[0][0] == "[]")
            await machine.start()
            await in_the_end_it_is_in(v)
    assert outcomes == {True, False}, "it crashed before the redemption, and after"


@pytest.mark.parametrize("who", ["mill", "shop"])
@virtually
async def test_a_commit_that_is_torn_leaves_nothing_half_done(who: str) -> None:
    crashed = 0
    for tenths in range(1, 11):
        async with redemption() as (v, link):
            await prepared(v, link)
            v[who].disk.faults = DiskFaults(torn=tenths / 10)
            await tried(v)
            await v.world.sleep(timedelta(seconds=30))
            v[who].disk.faults = DiskFaults()
            if not v[who].is_up:
                crashed += 1
                await v[who].start()
            await in_the_end_it_is_in(v)
    assert crashed
