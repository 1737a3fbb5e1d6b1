"""Whoever answers on a segment as a hundred thousand nodes. In namespaces: multicast never leaves the test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from tests.conversation import Conversation
from tests.namespaces import cable

ROOT = Path(__file__).parents[2]
ANSWERS = 100_000
BOUND = 5_000
"""Far more than mDNS may hold, 512 at a time; all that comes in while it rests is lost."""


async def told_under_attack(*switched_off: str) -> int:
    """How many nodes one is told of when 100,000 answers come, and a good one is among them."""
    with cable() as (left, right):
        mill = await Conversation.begin("tests.network.mdns_flooded", *switched_off, namespace=left)
        await mill.hears(lambda said: "peer" in said)
        attack = await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", right, sys.executable, "-m", "tests.network.mdns_answers", str(ANSWERS), cwd=ROOT
        )
        farm = await Conversation.begin("tests.network.mdns_flooded", namespace=right)
        try:
            good = (await farm.hears(lambda said: "peer" in said))["peer"]
            assert await attack.wait() == 0
            if not switched_off:
                await mill.does("hear_of", good)
            return int(await mill.does("told"))
        finally:
            for node in (mill, farm):
                await node.stop()


@pytest.mark.namespaces
async def test_of_a_hundred_thousand_answers_some_are_heard_and_a_good_one_is_too() -> None:
    assert 0 < await told_under_attack() < BOUND


@pytest.mark.namespaces
async def test_without_its_bound_mdns_takes_whatever_comes() -> None:
    assert await told_under_attack("mdns_bound") > BOUND
