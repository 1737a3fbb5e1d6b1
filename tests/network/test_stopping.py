"""A node stops in a moment, whatever its QUIC connections were about to do."""

from __future__ import annotations

import time

import pytest
from tests.namespaces import cable, silence
from tests.network.nat_nodes import Node

SOON_S = 1.5
"""A goodbye takes 0.3 s at most; QUIC by itself would keep the port for three seconds, and more after retries."""


@pytest.mark.namespaces
async def test_a_node_stops_soon_while_its_handshakes_are_unanswered_and_its_port_is_free_then() -> None:
    with cable() as (left, right):
        silence(right, "10.99.0.77")
        mill = await Node.start(left, "quic", "auto", "relay_client", "dcutr")
        farm = await Node.start(right, "quic", "auto")
        try:
            assert await mill.does("dial", farm.peer, ["/ip4/10.99.0.2/udp/4001/quic-v1"]) == farm.peer
            said = await mill.tries("dial", farm.peer, ["/ip4/10.99.0.77/udp/4001/quic-v1"])
            assert said["attempts"]
            began = time.monotonic()
            await mill.does("stop")
            assert time.monotonic() - began < SOON_S
            # The other side has heard it, and does not wait for a connection that says nothing any more.
            await farm.hears_of("ConnectionClosed", peer=mill.peer)
            assert time.monotonic() - began < SOON_S
            assert await mill.does("can_bind", 4001)
        finally:
            for node in (mill, farm):
                await node.stop()
