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

For an application's own way to resolve conflicts:

    resolver_check  `check_resolver`: whether replicas would converge with it

For what takes crashes, broken disks and hours, a `World` of machines on made-up time:

    loop         `VirtualTimeLoop`, `run_in_virtual_time`: time leaps to the next timer, in the same order each time
    world        `World`: machines, and all chance from one seed
    machine      `Machine`: its node starts, crashes and starts again
    disk         `Disk`, `DiskFaults`: what outlives a crash, and how it fails
    trace        `Trace`: what happened, as one hash
    ledger       `Ledger`: what was sent, and what was said about it
    checkers     `Checkers`: whether it was true
"""

from __future__ import annotations

from covm.federation.network.simulated import LinkFaults, SimulatedFabric
from covm.testing.checkers import Checkers
from covm.testing.clock import LoopClock
from covm.testing.disk import Disk, DiskFaults
from covm.testing.federation import SimulatedFederation, settled, simulated_federation
from covm.testing.ledger import Call, Entry, Fate, Ledger
from covm.testing.loop import Deadlock, TimeStandsStill, VirtualTimeLoop, run_in_virtual_time
from covm.testing.machine import Crashed, Machine
from covm.testing.resolver_check import check_resolver
from covm.testing.trace import Trace
from covm.testing.waiting import until
from covm.testing.world import World

__all__ = [
    "Call",
    "Checkers",
    "Crashed",
    "Deadlock",
    "Disk",
    "DiskFaults",
    "Entry",
    "Fate",
    "Ledger",
    "LinkFaults",
    "LoopClock",
    "Machine",
    "SimulatedFabric",
    "SimulatedFederation",
    "TimeStandsStill",
    "Trace",
    "VirtualTimeLoop",
    "World",
    "check_resolver",
    "run_in_virtual_time",
    "settled",
    "simulated_federation",
    "until",
]
