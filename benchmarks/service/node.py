"""The nodes that are measured: as a user makes them, on loopback, with nothing that the floor does not have."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from covm.federation import FederationConfig, FederationService, Identity, message_type

FILLING_BYTES = 174
"""With the two keys and the time beside it, a payload of 200 bytes."""

NETWORK = "benchmark"

CONNECT_S = 20.0
"""A connection takes milliseconds; on a machine that compiles something, more."""


@message_type("benchmark.sample")
class Sample(msgspec.Struct, frozen=True):
    """A payload of 200 bytes that says when it was made, by `time.perf_counter_ns` of its maker's process."""

    at_ns: int
    filling: bytes = b"\7" * FILLING_BYTES


@message_type("benchmark.chunk")
class Chunk(msgspec.Struct, frozen=True):
    """A payload of 64 KiB and a few bytes around them."""

    content: bytes


def new_service(home: Path | None = None, identity: Identity | None = None, **changes: Any) -> FederationService:
    """A node that listens on loopback over TCP and knows the benchmark's types; durable where it has a home."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "listen_addresses": ["/ip4/127.0.0.1/tcp/0"],
        "enable_kademlia": False,
        "enable_peer_exchange": False,
        "heartbeat_interval": timedelta(seconds=30),
        "max_connections": 100,
        # A million, and the one that showed the peer, are to find room.
        "outbox_max_messages": 2_000_000,
    }
    if home is None:
        identity = identity or Identity.generate()
    else:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = Identity.load_or_create(home / "identity.key")
        fields["home"] = str(home)
    config = FederationConfig.preset("local", **{"membership": "open"} | fields | changes)
    return FederationService(identity, config, types=[Sample, Chunk])


async def connect_both(near: FederationService, far: FederationService) -> None:
    """Dials, and returns once each counts the other as connected."""
    joined = asyncio.create_task(until_connected(far, near.peer_id))
    try:
        async with asyncio.timeout(CONNECT_S):
            await near.connect_peer(far.addresses[0])
            await joined
    finally:
        joined.cancel()


async def until_connected(service: FederationService, peer: str) -> None:
    """Returns once `connected_peers` has the peer."""
    events = service.events()
    try:
        while peer not in service.connected_peers():
            await anext(events)
    finally:
        await events.aclose()
