"""Which federation this is. In `open` mode: the CID of `{network: name}` in DAG-CBOR, stated and no secret."""

from __future__ import annotations

import msgspec

from covm import _native


class FederationId(msgspec.Struct, frozen=True):
    """A federation's id and the names on the network that follow from it."""

    network: str
    cid: _native.Link
    topic: str
    """The gossip topic, `/covm/<cid>`."""
    kademlia: str
    """The protocol of the federation's own DHT, `/covm/kad/<cid>`."""

    def __str__(self) -> str:
        return str(self.cid)


def open_federation(network: str) -> FederationId:
    """The federation of everyone who states this network name. The same name gives the same id everywhere."""
    cid = _native.cid(_native.encode({"network": network}))
    return FederationId(network=network, cid=cid, topic=f"/covm/{cid}", kademlia=f"/covm/kad/{cid}")
