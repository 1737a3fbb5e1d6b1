"""For tests of applications on covm: federations of simulated nodes, in one process, without a network.

    from covm.testing import settled, simulated_federation, until

    async def test_a_proposal_arrives() -> None:
        async with simulated_federation(3, types=[Proposal]) as nodes:
            received: list[Message[Proposal]] = []
            nodes[2].subscribe(Proposal, received.append)
            await nodes[0].publish("governance.proposal", proposal)
            await until(lambda: received)
            assert received[0].author == nodes[0].peer_id

The nodes are `FederationService` objects as in production: same envelopes, limits and checks. Only what lies below,
sockets and other machines, is simulated, and can be made to misbehave through `nodes.fabric`.

    federation   `simulated_federation`, what it gives, and `settled`
    waiting      `until`
    clock        `LoopClock`: the nodes' time is the event loop's
"""

from __future__ import annotations

from covm.federation.network.simulated import LinkFaults, SimulatedFabric
from covm.testing.clock import LoopClock
from covm.testing.federation import SimulatedFederation, settled, simulated_federation
from covm.testing.waiting import until

__all__ = [
    "LinkFaults",
    "LoopClock",
    "SimulatedFabric",
    "SimulatedFederation",
    "settled",
    "simulated_federation",
    "until",
]
