"""The simulated network: `interface.Network` within one process and one event loop, for tests.

Envelopes, limits, verdicts and the order of events are those of the native core; sockets, threads and chance are not
there. It runs on any asyncio loop, with that loop's time.

    fabric      who listens where, who reaches whom (partition, cut, heal), and how badly (`LinkFaults`)
    network     the commands          node          what lives between start and stop
    connection  the join exchange     talk          what is said in it before the decision
    streams     frames with credit
    gossip      flood and verdicts    standing      what peers have cost
    links       faults and pipes      outbox        events in batches
    packets     what travels          addresses     fake multiaddrs       limits   the bounds

Imported by `wiring`'s callers in tests and by `covm.testing`; nothing in a running node needs it.
"""

from __future__ import annotations

from covm.federation.network.simulated.fabric import SimulatedFabric
from covm.federation.network.simulated.links import LinkFaults
from covm.federation.network.simulated.network import SimulatedNetwork

__all__ = ["LinkFaults", "SimulatedFabric", "SimulatedNetwork"]
