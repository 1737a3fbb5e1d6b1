"""Where what is published goes: to everyone by gossip, or in person to each node that may read it.

What only some may read never touches gossip, where every node sees all of it. Both ways this node's own handlers get
it too. The checks are made before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from covm.federation.allowed import require
from covm.federation.clock import Clock, Random
from covm.federation.gossip.protocol import GossipProtocol, PublishedMessage
from covm.federation.identity.roles import Action
from covm.federation.ports import LOCAL, Arrival, Courier, Inbound, Membership
from covm.federation.wire.federation_id import FederationId
from covm.federation.wire.limits import MID_SIZE, clamped_ms
from covm.federation.wire.message import MessageBody, encode_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from covm.federation.wire.incarnation import Incarnation


class Publishing:
    """The `Publisher` of a node."""

    def __init__(
        self,
        *,
        gossip: GossipProtocol,
        courier: Courier,
        inbound: Inbound,
        membership: Membership,
        federation: FederationId,
        peer_id: str,
        incarnation: Callable[[], Incarnation],
        clock: Clock,
        random: Random,
    ) -> None:
        self._gossip = gossip
        self._courier = courier
        self._inbound = inbound
        self._membership = membership
        self._federation = federation
        self._peer_id = peer_id
        self._incarnation = incarnation
        self._clock = clock
        self._random = random

    async def publish(self, type_name: str, payload: object, limit_bytes: int) -> PublishedMessage:
        """Publishes one message. Raises as `FederationService.publish` does."""
        require(self._membership, self._peer_id, Action.PUBLISH, type_name)
        if self._membership.everyone_may_read(type_name):
            return await self._gossip.publish(type_name, payload, limit_bytes)
        return await self._in_person(type_name, payload, limit_bytes)

    async def _in_person(self, type_name: str, payload: object, limit_bytes: int) -> PublishedMessage:
        mid = self._random.bytes(MID_SIZE)
        body = MessageBody(
            federation=self._federation.cid,
            type=type_name,
            author=self._peer_id,
            incarnation=self._incarnation(),
            seq=0,
            mid=mid,
            to=None,
            sent_at=clamped_ms(self._clock.now_ms()),
            expires_at=None,
            payload=payload,
        )
        size_bytes = len(encode_body(body, limit_bytes))
        readers = self._membership.readers(type_name)
        for node in readers:
            await self._courier.send(node, type_name, payload, None, limit_bytes, mid)
        if self._membership.may(self._peer_id, Action.READ, type_name).holds:
            self._inbound.deliver([Arrival(body, LOCAL, size_bytes)])
        return PublishedMessage(mid.hex(), len(readers))
