"""The programs of `tests.crashes`, for whom every way to the other one leads over the test's line.

Nodes tell each other where they listen, and would go around a line that fails. These dial nothing but the line, as if
they stood behind the one router that fails.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.crashes.news import Newspaper
from tests.crashes.program import Program, Settings, live

from covm.federation import FederationConfig, Identity
from covm.federation.network.libp2p import Libp2pNetwork

IMPATIENT: Mapping[str, Any] = {"heartbeat_interval": timedelta(milliseconds=250)}
"""A peer that says nothing is lost after a second."""


class OneWayOut(Libp2pNetwork):
    """Whatever address is dialled, the line is."""

    line = ""

    async def dial(self, peer: str | None, _addresses: Sequence[str]) -> str:
        return await super().dial(peer, [self.line])


def _over_the_line(settings: Settings, identity: Identity, config: FederationConfig) -> Libp2pNetwork:
    network = OneWayOut(identity.keypair, listen=config.listen_addresses, agent="chaos", reachability="public")
    network.line = settings.peer_address.partition("/p2p/")[0]
    return network


class Correspondent(Program):
    """Sends direct messages."""

    changes = IMPATIENT

    def _network(self, identity: Identity, config: FederationConfig) -> Libp2pNetwork:
        return _over_the_line(self.settings, identity, config)


class Publisher(Newspaper):
    """Publishes what is durable."""

    changes = IMPATIENT

    def _network(self, identity: Identity, config: FederationConfig) -> Libp2pNetwork:
        return _over_the_line(self.settings, identity, config)


def correspond(path: Path, connection: socket.socket) -> None:
    """A process's life."""
    live(path, connection, Correspondent)


def publish(path: Path, connection: socket.socket) -> None:
    """A process's life."""
    live(path, connection, Publisher)
