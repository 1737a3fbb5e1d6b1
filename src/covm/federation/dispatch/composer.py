"""Messages made inside a transaction: checked and encoded where the handler runs, on the store's thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from covm.federation.allowed import require, require_recipient
from covm.federation.clock import Random
from covm.federation.dispatch.transaction import Staged
from covm.federation.errors import InvalidMessage, MessageTooLarge, NotStarted
from covm.federation.identity.roles import Action
from covm.federation.wire.limits import MAX_GOSSIP_BODY, MAX_TIME_TO_LIVE, MID_SIZE, clamped_ms
from covm.federation.wire.message import MessageBody, encode_body, payload_size
from covm.federation.wire.registry import TypeRegistry

if TYPE_CHECKING:
    from covm.federation.ports import Membership, Presence, Recording
    from covm.federation.wire.federation_id import FederationId
    from covm.federation.wire.incarnation import Incarnation


class MessageComposer:
    """The node's `Composer`. It reads what other threads change, and changes nothing."""

    def __init__(
        self,
        registry: TypeRegistry,
        federation: FederationId,
        peer_id: str,
        random: Random,
        time_to_live: timedelta,
        max_message_size: int,
        membership: Membership,
    ) -> None:
        self._membership = membership
        self._registry = registry
        self._federation = federation
        self._peer_id = peer_id
        self._random = random
        self._time_to_live = time_to_live
        self._max_message_size = max_message_size
        self._records: Recording | None = None
        self._presence: Presence | None = None
        self._incarnation: Callable[[], Incarnation] | None = None
        self._reserve: Callable[[str, int], None] | None = None

    def meet(
        self,
        presence: Presence,
        incarnation: Callable[[], Incarnation],
        reserve: Callable[[str, int], None],
        records: Recording | None = None,
    ) -> None:
        """Who may be written to, under which incarnation, whether there is room, and what becomes a record.

        Before the first transaction.
        """
        self._records = records
        self._presence = presence
        self._incarnation = incarnation
        self._reserve = reserve

    def compose(self, peer: str, type: Any, value: Any, time_to_live: timedelta | None, now_ms: int) -> Staged:
        """Checks and encodes a direct message. Raises as `FederationService.send_direct` does."""
        if self._presence is None or self._incarnation is None or self._reserve is None:
            raise NotStarted
        name, payload = self._registry.to_payload(type, value)
        if peer == self._peer_id:
            raise InvalidMessage(name, "", "the recipient is this node itself; publish reaches its own handlers")
        require(self._membership, self._peer_id, Action.SEND, name)
        require_recipient(self._membership, peer, name)
        self._presence.may_write_to(peer)
        lifetime = self._time_to_live if time_to_live is None else time_to_live
        if lifetime <= timedelta(0):
            raise ValueError(f"a message cannot live {lifetime}; give a positive duration, or none at all")
        now_ms = clamped_ms(now_ms)
        lifetime_ms = int(min(lifetime, MAX_TIME_TO_LIVE).total_seconds() * 1000)
        expires_at_ms = clamped_ms(now_ms + lifetime_ms)
        mid = self._random.bytes(MID_SIZE)
        body = MessageBody(
            federation=self._federation.cid,
            type=name,
            author=self._peer_id,
            incarnation=self._incarnation(),
            seq=0,
            mid=mid,
            to=peer,
            sent_at=now_ms,
            expires_at=expires_at_ms,
            payload=payload,
        )
        limit = min(self._registry.size_limit(name), self._max_message_size)
        encoded = encode_body(body, limit)
        self._reserve(peer, len(encoded))
        return Staged(peer, mid, name, encoded, expires_at_ms)

    def check_publication(self, type: Any, value: Any) -> tuple[str, Any, str | None]:
        """The type's name, the payload, and the key of the record that it becomes; None where it becomes none.

        Raises as `FederationService.publish` does.
        """
        name, payload = self._registry.to_payload(type, value)
        require(self._membership, self._peer_id, Action.PUBLISH, name)
        if self._records is not None and self._records.is_durable(name):
            limit = min(self._registry.size_limit(name), self._max_message_size)
            return name, payload, self._records.key_for(name, payload, limit)
        limit, size = min(self._registry.size_limit(name), MAX_GOSSIP_BODY), payload_size(payload)
        if size > limit:
            raise MessageTooLarge(f"the payload of {name}", size, limit)
        return name, payload, None

    def require_room(self, type_name: str, records: int, size_bytes: int) -> None:
        """Raises `QuotaExceeded` where so many more records of a type, of so many bytes, are too much."""
        if self._records is not None:
            self._records.require_room(type_name, records, size_bytes)
