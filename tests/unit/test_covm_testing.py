"""`covm.testing` as a developer uses it to test an application."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.unit.simulated_world import LeapingLoop, leaping

from covm.federation import Message
from covm.governance import Proposal
from covm.testing import LinkFaults, LoopClock, settled, simulated_federation, until


def proposal(title: str) -> Proposal:
    return Proposal(
        id="p-1",
        title=title,
        description="for the hall",
        author="Cooperative A",
        options=["yes", "no"],
        created_at=1_760_000_000_000,
        metadata={},
    )


async def test_three_cooperatives_in_one_line_hear_each_others_proposals() -> None:
    async with simulated_federation(3, types=[Proposal]) as nodes:
        assert [node.name for node in nodes] == ["node-0", "node-1", "node-2"]
        received: list[Message[Proposal]] = []
        for node in nodes[1:]:
            node.subscribe(Proposal, received.append)
        published = await nodes[0].publish("governance.proposal", proposal("A new roof"))
        assert published.peers == 2
        await until(lambda: len(received) == 2, what="both copies")
        assert {message.payload.title for message in received} == {"A new roof"}
        assert {message.author for message in received} == {nodes[0].peer_id}


async def test_each_node_is_connected_as_asked() -> None:
    async with simulated_federation(4) as nodes:
        assert all(len(node.connected_peers()) == 3 for node in nodes)
    async with simulated_federation(4, connect="line") as nodes:
        assert [len(node.connected_peers()) for node in nodes] == [1, 2, 2, 1]
    async with simulated_federation(2, connect="none") as nodes:
        assert [node.connected_peers() for node in nodes] == [[], []]


async def test_the_same_seed_gives_the_same_nodes() -> None:
    seen = []
    for seed in (7, 7, 8):
        async with simulated_federation(2, seed=seed, connect="none") as nodes:
            seen.append([node.peer_id for node in nodes])
    assert seen[0] == seen[1]
    assert not set(seen[0]) & set(seen[2])


async def test_what_a_cut_keeps_away_is_not_received_once_all_is_settled() -> None:
    async with simulated_federation(2, types=[Proposal]) as nodes:
        received: list[Message[Proposal]] = []
        nodes[1].subscribe(Proposal, received.append)
        nodes.fabric.cut(nodes[0].peer_id, nodes[1].peer_id)
        await settled(nodes)
        await nodes[0].publish("governance.proposal", proposal("Unheard"))
        await settled(nodes)
        assert nodes[0].connected_peers() == []
        assert received == []


@leaping
async def test_slow_links_cost_a_test_no_time_on_a_loop_that_leaps() -> None:
    faults = LinkFaults(latency=timedelta(milliseconds=300))
    async with simulated_federation(2, types=[Proposal], faults=faults) as nodes:
        received: list[Message[Proposal]] = []
        nodes[1].subscribe(Proposal, received.append)
        await nodes[0].publish("governance.proposal", proposal("From far away"))
        assert not received
        await settled(nodes)
        assert [message.payload.title for message in received] == ["From far away"]


async def story(seed: int) -> list[tuple[str, str, str, int]]:
    faults = LinkFaults(timedelta(milliseconds=10), jitter=timedelta(milliseconds=30), loss=0.2)
    clock = LoopClock(start_ms=1_760_000_000_000)
    received: list[tuple[str, str, str, int]] = []
    async with simulated_federation(
        4, types=[Proposal], connect="line", seed=seed, faults=faults, clock=clock
    ) as nodes:
        for node in nodes:

            def receive(message: Message[Proposal], name: str = node.name) -> None:
                received.append((name, message.id, message.payload.title, clock.now_ms()))

            node.subscribe(Proposal, receive)
        for index in range(5):
            await nodes[index % 4].publish("governance.proposal", proposal(f"Number {index}"))
        await settled(nodes)
    return received


def test_the_same_seed_tells_the_same_story() -> None:
    stories = []
    for seed in (3, 3, 4):
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            stories.append(runner.run(story(seed)))
    assert len(stories[0]) > 5
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


async def test_a_config_field_is_changed_for_all_nodes() -> None:
    async with simulated_federation(2, config={"max_connections": 3}) as nodes:
        assert [node.config.max_connections for node in nodes] == [3, 3]


@pytest.mark.parametrize("count", [0, 257])
async def test_an_impossible_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"not {count}"):
        async with simulated_federation(count):
            pass


@leaping
async def test_a_condition_that_never_holds_is_named_when_its_time_is_over() -> None:
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match="the moon did not come true within 3 s"):
        await until(lambda: False, what="the moon", timeout=timedelta(seconds=3))
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(3, abs=0.1)
