"""Gossip over a restart, with the store in a home: nothing of yesterday has a second effect, today goes on."""

from __future__ import annotations

from pathlib import Path

from tests.network.world import PATIENCE, Inbox, World, meet

from covm.federation import FederationService, Identity
from covm.federation.gossip.replay import ReplayWindows
from covm.federation.network.interface import GossipReceived
from covm.testing import until

NEWS = "village.news"


def recorded(node: FederationService) -> list[GossipReceived]:
    """What gossip brings the node from now on, as it came."""
    kept: list[GossipReceived] = []
    gossip = node._node.gossip
    judge = gossip._judge.judge

    def noted(received: GossipReceived, now_ms: int, now_s: float) -> object:
        kept.append(received)
        return judge(received, now_ms, now_s)

    gossip._judge.judge = noted  # type: ignore[method-assign, assignment]
    return kept


async def start(world: World, key: Identity, home: Path) -> FederationService:
    return await world.start(key, name="Riverside Farm", home=str(home))


async def test_yesterdays_envelope_after_a_restart_has_no_second_effect(world: World, tmp_path: Path) -> None:
    key, mill = Identity.generate(), await world.start(name="Mill Bakery")
    farm = await start(world, key, tmp_path / "farm")
    await meet(farm, mill)
    yesterday, received = recorded(farm), Inbox(farm, NEWS)
    for number in range(3):
        await mill.publish(NEWS, f"yesterday {number}")
    await received.holds(3)
    await farm.stop()

    farm = await start(world, key, tmp_path / "farm")
    again = Inbox(farm, NEWS)
    await meet(farm, mill)
    farm._node.gossip.on_gossip(yesterday)
    assert farm.stats()["dropped"]["duplicate"] == 3
    await mill.publish(NEWS, "today")
    await again.holds(1)
    assert again.payloads == ["today"]


async def test_without_what_is_on_disk_it_would_be_handled_again(world: World, tmp_path: Path) -> None:
    key, mill = Identity.generate(), await world.start(name="Mill Bakery")
    farm = await start(world, key, tmp_path / "farm")
    await meet(farm, mill)
    yesterday, received = recorded(farm), Inbox(farm, NEWS)
    await mill.publish(NEWS, "yesterday")
    await received.holds(1)
    await farm.stop()

    farm = await start(world, key, tmp_path / "farm")
    again = Inbox(farm, NEWS)
    await meet(farm, mill)
    farm._node.gossip._judge.windows = farm._node.gossip._journal._windows = ReplayWindows()
    farm._node.gossip.on_gossip(yesterday)
    await again.holds(1)


async def test_what_a_node_publishes_after_its_restart_is_new_to_everyone(world: World, tmp_path: Path) -> None:
    key, mill = Identity.generate(), await world.start(name="Mill Bakery")
    received = Inbox(mill, NEWS)
    for life in range(3):
        farm = await start(world, key, tmp_path / "farm")
        await meet(farm, mill)
        for number in range(5):
            await farm.publish(NEWS, f"{life}.{number}")
        await received.holds(5 * (life + 1))
        await farm.stop()
        await until(lambda: not mill.connected_peers(), timeout=PATIENCE)
    assert sorted(received.payloads) == [f"{life}.{number}" for life in range(3) for number in range(5)]
    incarnations = {message.incarnation for message in received.messages}
    assert len(incarnations) == 1, "one incarnation lasts over restarts"
    assert len({message.seq for message in received.messages}) == 15
