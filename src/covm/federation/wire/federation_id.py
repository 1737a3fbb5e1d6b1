"""Which federation this is: the CID of its charter.

In `open` mode that of `{network: name}` in DAG-CBOR, stated and no secret.
"""

from __future__ import annotations

import msgspec

from covm import _native


class FederationId(msgspec.Struct, frozen=True):
    """A federation's id and the names on the network that follow from it."""

    network: str
    """The name that nodes share in `open` mode; empty otherwise."""
    cid: _native.Link
    topic: str
    """The gossip topic, `/covm/<cid>`."""
    kademlia: str
    """The protocol of the federation's own DHT, `/covm/kad/<cid>`."""

    def __str__(self) -> str:
        return str(self.cid)


def federation_of(cid: _native.Link) -> FederationId:
    """The federation with this charter."""
    return FederationId(network="", cid=cid, topic=f"/covm/{cid}", kademlia=f"/covm/kad/{cid}")


def open_federation(network: str) -> FederationId:
    """The federation of everyone who states this network name. The same name gives the same id everywhere."""
    cid = _native.cid(_native.encode({"network": network}))
    return FederationId(network=network, cid=cid, topic=f"/covm/{cid}", kademlia=f"/covm/kad/{cid}")
