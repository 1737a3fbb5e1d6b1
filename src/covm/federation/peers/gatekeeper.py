"""The gatekeeper: lets members in and sends away who is one no more. It is the `Gate` of the membership."""

from __future__ import annotations

import logging

from covm.federation.counters import Counters
from covm.federation.events import EventHub
from covm.federation.network.interface import Network
from covm.federation.peers.door import Door
from covm.federation.peers.manager import PeerManager
from covm.federation.peers.roster import Roster
from covm.federation.ports import Membership
from covm.federation.violations import punish

logger = logging.getLogger("covm.federation.peers")


class Gatekeeper:
    """The shell around what the membership decides."""

    def __init__(
        self,
        peers: PeerManager,
        roster: Roster,
        door: Door,
        membership: Membership,
        network: Network,
        counters: Counters,
        hub: EventHub,
    ) -> None:
        self._peers = peers
        self._roster = roster
        self._membership = membership
        self._network = network
        self._counters = counters
        self._hub = hub
        self.let_in = door.let_in
        self.turn_away = door.turn_away
        self.connected_peers = peers.connected_peers

    def reconsider(self) -> None:
        """Who may not take part any more is sent away, and told why when it knocks again."""
        for record in list(self._roster):
            if record.admitted:
                self.reconsider_one(record.peer)

    def reconsider_one(self, peer: str) -> None:
        """An admitted peer that may not take part is sent away."""
        verdict = self._membership.node_verdict(peer)
        if not verdict.holds:
            logger.warning("%s may not take part any more: %s", peer, verdict.reason)
            self._peers.give_up(peer, verdict.reason)

    def misbehaved(self, peer: str, reason: str) -> None:
        """Counts, tells and charges what no honest peer does."""
        punish(peer, reason, self._network, self._counters, self._hub)
