"""A node for test_mdns: listens on every address, waits for a peer that it was told of by nobody, and names it."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from covm.federation import FederationConfig, FederationService, Identity
from covm.testing import until


async def main(name: str) -> None:
    config = FederationConfig.preset(
        "lan",
        membership="open",
        name=name,
        listen_addresses=["/ip4/0.0.0.0/tcp/0"],
        enable_kademlia=False,
        enable_mdns=True,
    )
    async with FederationService(Identity.generate(), config) as node:
        await until(lambda: bool(node.connected_peers()), timeout=timedelta(seconds=60))
        sys.stdout.write(f"met {next(peer.name for peer in node.peers() if peer.state == 'connected')}\n")
        sys.stdout.flush()
        # Stays until the other one has met it too.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
