"""`Message`: what a handler gets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody

T = TypeVar("T")

Via = Literal["gossip", "direct", "local", "sync"]
"""How a message came: published by another node, sent to this one, published by this node itself, or as a record."""


class Message(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A message whose author's signature holds, with its payload in the registered type.

    Unregistered types carry what was sent: JSON-like values, text or bytes.
    """

    id: str
    """32 hexadecimal digits, or of a durable type the record's id; the same when it comes again."""
    type: str
    """The type's name, in small letters."""
    author: str
    """The author's peer id, proven by the signature, whoever carried the message."""
    member: str | None = None
    """The id of the author's member; None while the federation is open to everyone."""
    to: str | None
    """The recipient's peer id; None for a published message."""
    via: Via
    """`gossip`, `direct`, `sync` for what is of a durable type, or `local` for this node's own publications."""
    attempt: int = 1
    """1 at first; more when a handler may have seen it before: its own failure, or a crash of this node."""
    out_of_order: bool = False
    """Whether it comes later than its place among its author's messages of the type: retried from quarantine."""
    payload: T
    """An instance of the registered Struct, or plain values."""
    sent_at_ms: int
    """Milliseconds since 1970-01-01 UTC by the author's clock, which may be wrong."""
    incarnation: Incarnation
    """Which start of the author's node it belongs to."""
    seq: int
    """Its number among the messages of that start."""

    @property
    def sent_at(self) -> datetime:
        """When the author says it was sent, in UTC. It orders what is shown; it proves nothing."""
        return datetime.fromtimestamp(self.sent_at_ms / 1000, UTC)


def received(
    body: MessageBody,
    payload: Any,
    via: Via,
    *,
    member: str | None = None,
    attempt: int = 1,
    out_of_order: bool = False,
    record: str = "",
) -> Message[Any]:
    """The message that a body carries, with its payload already typed; `record` is the id of what it came as."""
    return Message(
        id=record or body.mid.hex(),
        type=body.type,
        author=body.author,
        member=member,
        to=body.to,
        via=via,
        attempt=attempt,
        out_of_order=out_of_order,
        payload=payload,
        sent_at_ms=body.sent_at,
        incarnation=body.incarnation,
        seq=body.seq,
    )
