"""Publications above 64 KiB: announced by id, fetched from whoever has them, handed over whole."""

from __future__ import annotations

import pytest
from tests.network.world import PATIENCE, Inbox, World, meet

from covm.federation.errors import MessageTooLarge
from covm.testing import until

MAP = "map.of_the_valley"
LARGE = bytes(range(256)) * 3_000


async def test_a_large_publication_arrives_whole_also_over_a_neighbour(world: World) -> None:
    mill, farm, dairy = [await world.start(name=name) for name in ("Mill", "Farm", "Dairy")]
    await meet(farm, mill)
    await meet(dairy, farm)
    inboxes = [Inbox(node, MAP) for node in (mill, farm, dairy)]
    published = await mill.publish(MAP, LARGE)
    for inbox in inboxes:
        await inbox.holds(1)
        assert inbox.payloads == [LARGE]
        assert inbox.messages[0].id == published.id
        assert inbox.messages[0].author == mill.peer_id


async def test_the_gossip_log_shows_the_announcement_and_what_was_fetched(world: World) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, MAP)
    published = await mill.publish(MAP, LARGE)
    await received.holds(1)
    announced, fetched = [entry for entry in farm.gossip_log() if entry.id == published.id]
    assert (announced.verdict, announced.reason) == ("accept", "")
    assert announced.size_bytes < 1_000
    assert (fetched.verdict, fetched.reason, fetched.carrier) == ("accept", "fetched", mill.peer_id)
    assert fetched.size_bytes > len(LARGE)


async def test_small_and_large_publications_of_one_author_all_arrive(world: World) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, MAP)
    sizes = [10, 65_500, 65_600, 300_000, 20, 1_000_000]
    for size in sizes:
        await mill.publish(MAP, bytes(size))
    await received.holds(len(sizes))
    assert sorted(len(payload) for payload in received.payloads) == sorted(sizes)


async def test_what_exceeds_a_message_is_refused_before_anything_is_sent(world: World) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, MAP)
    with pytest.raises(MessageTooLarge) as refused:
        await mill.publish(MAP, bytes(2**20 + 1))
    assert refused.value.limit_bytes == 2**20
    await mill.publish(MAP, b"behind it")
    await received.holds(1)
    assert received.payloads == [b"behind it"]


async def test_a_node_with_a_lower_limit_does_not_fetch_what_is_above_it(world: World) -> None:
    mill = await world.start(name="Mill")
    farm = await world.start(name="Farm", max_message_size=100_000)
    await meet(farm, mill)
    received = Inbox(farm, MAP)
    await mill.publish(MAP, LARGE)
    await until(
        lambda: farm.stats()["dropped"].get("above_max_message_size"),
        timeout=PATIENCE,
        what="the announcement to be turned away",
    )
    assert received.payloads == []
