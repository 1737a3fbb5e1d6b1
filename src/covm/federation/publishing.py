"""Where what is published goes: to everyone by gossip, in person to each node that may read it, or into a record.

What only some may read never touches gossip, where every node sees all of it; nor does what is of a durable type. Each
way this node's own handlers get it too. The checks are made before anything is sent.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from covm.federation.allowed import require
from covm.federation.clock import Clock, Random
from covm.federation.counters import Counters
from covm.federation.errors import OutboxFull, PeerBanned
from covm.federation.gossip.protocol import GossipProtocol, PublishedMessage
from covm.federation.identity.roles import Action
from covm.federation.ports import LOCAL, Arrival, Courier, Inbound, Membership
from covm.federation.wire.federation_id import FederationId
from covm.federation.wire.limits import MID_SIZE, clamped_ms
from covm.federation.wire.message import MessageBody, encode_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from covm.federation.recording import Recorder
    from covm.federation.wire.incarnation import Incarnation

logger = logging.getLogger("covm.federation")

AT_ONCE: Final = 256
"""Readers for whom a message is queued at once: the store writes them together."""


class Publishing:
    """The `Publisher` of a node."""

    def __init__(
        self,
        *,
        gossip: GossipProtocol,
        recorder: Recorder,
        courier: Courier,
        inbound: Inbound,
        membership: Membership,
        federation: FederationId,
        peer_id: str,
        incarnation: Callable[[], Incarnation],
        counters: Counters,
        clock: Clock,
        random: Random,
        max_message_bytes: int,
    ) -> None:
        self._gossip = gossip
        self._recorder = recorder
        self._courier = courier
        self._inbound = inbound
        self._membership = membership
        self._federation = federation
        self._peer_id = peer_id
        self._incarnation = incarnation
        self._counters = counters
        self._clock = clock
        self._random = random
        self._max_message_bytes = max_message_bytes

    async def publish(self, type_name: str, payload: object, limit_bytes: int) -> PublishedMessage:
        """Publishes one message. Raises as `FederationService.publish` does."""
        require(self._membership, self._peer_id, Action.PUBLISH, type_name)
        if self._recorder.is_durable(type_name):
            return await self._recorder.publish(type_name, payload, min(limit_bytes, self._max_message_bytes))
        if self._membership.everyone_may_read(type_name):
            return await self._gossip.publish(type_name, payload, limit_bytes)
        return await self._in_person(type_name, payload, min(limit_bytes, self._max_message_bytes))

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
        queued = await self._send(self._membership.readers(type_name), type_name, payload, limit_bytes, mid)
        if self._membership.may(self._peer_id, Action.READ, type_name).holds:
            self._inbound.deliver([Arrival(body, LOCAL, size_bytes)])
        return PublishedMessage(mid.hex(), queued)

    async def _send(self, readers: list[str], type_name: str, payload: object, limit_bytes: int, mid: bytes) -> int:
        """Queues a message for each of these, and returns for how many. Those without room do not keep it from others.

        Raises `OutboxFull` when none has room, and `StoreError`.
        """
        queued, full = 0, None
        for start in range(0, len(readers), AT_ONCE):
            sendings = (
                self._courier.send(node, type_name, payload, None, limit_bytes, mid)
                for node in readers[start : start + AT_ONCE]
            )
            for outcome in await asyncio.gather(*sendings, return_exceptions=True):
                if isinstance(outcome, OutboxFull):
                    self._counters.drop("outbox_full")
                    full = outcome
                elif isinstance(outcome, BaseException):
                    if not isinstance(outcome, PeerBanned):
                        raise outcome
                else:
                    queued += 1
        if full is not None:
            if not queued:
                raise full
            logger.warning("%s was not sent to every node that may read it: %s", type_name, full)
        return queued
