"""What a node says about itself to the peers that it is connected with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from covm.federation.peers.reach import RELAY
from covm.federation.version import software_version
from covm.federation.wire.limits import MAX_ADDRESSES
from covm.federation.wire.system import PeerInfo

if TYPE_CHECKING:
    from covm.federation.wiring import Parts

CAPABILITIES = ("direct", "gossip", "blob", "sync")
"""What every node of this version does."""


def peer_info(parts: Parts) -> PeerInfo:
    """The node's `PeerInfo` as of now."""
    return PeerInfo(
        name=parts.name,
        version=software_version(),
        addresses=list(parts.reach.addresses()[:MAX_ADDRESSES]),
        capabilities=[*CAPABILITIES, *[RELAY] * parts.reach.relays],
        types_digest=parts.registry.digest(),
    )
