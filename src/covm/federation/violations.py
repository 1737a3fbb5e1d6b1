"""What no honest peer does: how it is named while a frame is read, and what it costs."""

from __future__ import annotations

import contextlib
from typing import Final

from covm.federation.counters import Counters
from covm.federation.errors import NodeFailed, NotStarted
from covm.federation.events import EventHub
from covm.federation.network.interface import Network

CHARGE: Final = 10.0
"""What it costs its sender in gossip: after a few of them its neighbours avoid it."""


class Violation(Exception):
    """The peer said what no honest node says, or what cannot be true; `reason` is a snake_case name for counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def punish(peer: str, reason: str, network: Network, counters: Counters, hub: EventHub) -> None:
    """Counts, tells and charges it; that the whole network is gone already is as good."""
    counters.drop(reason)
    hub.reject(peer, reason)
    with contextlib.suppress(NotStarted, NodeFailed):
        network.charge(peer, CHARGE)
