"""What the parts of a protocol on streams need of their node."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from covm.federation.clock import Clock, Random
from covm.federation.counters import Counters
from covm.federation.errors import NodeFailed, NotStarted
from covm.federation.events import EventHub
from covm.federation.network.interface import Network
from covm.federation.offload import Offload
from covm.federation.ports import Presence
from covm.federation.store.interface import Store
from covm.federation.supervisor import Supervisor
from covm.federation.violations import punish

BREACHES: Final = frozenset({"frame too large", "empty frame", "frame not complete in time", "no frame in time"})
"""Ends of a stream that its peer brought about by breaking the framing."""

HELLO_DEADLINE_S: Final = 10.0
"""A peer that was admitted a moment ago answers a HELLO in a round trip; on the slowest link in seconds."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Handed in by the wiring."""

    network: Network
    presence: Presence
    store: Store
    supervisor: Supervisor
    offload: Offload
    counters: Counters
    hub: EventHub
    clock: Clock
    random: Random

    def close_stream(self, stream: int) -> None:
        """Closes a stream; that the whole network is gone already is as good."""
        with contextlib.suppress(NotStarted, NodeFailed):
            self.network.close_stream(stream)

    def release(self, stream: int, size_bytes: int) -> None:
        """Gives credit back; that the whole network is gone already is as good."""
        with contextlib.suppress(NotStarted, NodeFailed):
            self.network.release(stream, size_bytes)

    def violation(self, peer: str, reason: str) -> None:
        """Counts, tells and charges what no honest peer does."""
        punish(peer, reason, self.network, self.counters, self.hub)
