"""Messages and files under way, put into the control API's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from covm.control import delivery, schema

if TYPE_CHECKING:
    from covm.daemon.node import RunningNode
    from covm.federation import FileTransfer, InboxEntry, SentMessage


def sent(node: RunningNode, message: SentMessage, reached: str, elapsed_ms: float) -> schema.Sent:
    """A direct message that is as far as was waited for. It may be further by now, or not, as chance has it."""
    connected, offline_since = presence(node, message.peer)
    return schema.Sent(
        id=message.id,
        type=message.type,
        peer=message.peer,
        state=reached,
        elapsed_ms=elapsed_ms,
        peer_name=node.name_of(message.peer),
        connected=connected,
        offline_since=offline_since,
        expires_at=message.expires_at_ms,
    )


def outgoing(node: RunningNode, message: SentMessage) -> delivery.OutgoingMessage:
    """A message of this node."""
    connected, offline_since = presence(node, message.peer)
    receipt = node.sent_lately.get(message.id)
    return delivery.OutgoingMessage(
        id=message.id,
        peer=message.peer,
        peer_name=node.name_of(message.peer),
        type=message.type,
        state=message.state if receipt is None else receipt.state,
        reason=message.reason if receipt is None else receipt.reason,
        queued_at=message.queued_at_ms,
        expires_at=message.expires_at_ms,
        size_bytes=message.size_bytes,
        can_be_retried=message.can_be_retried,
        connected=connected,
        offline_since=offline_since,
    )


def incoming(node: RunningNode, entry: InboxEntry) -> delivery.IncomingMessage:
    """A message for this node that is not dealt with."""
    return delivery.IncomingMessage(
        id=entry.id,
        author=entry.author,
        author_name=node.name_of(entry.author),
        type=entry.type,
        state=entry.state,
        attempts=entry.attempts,
        reason=entry.reason,
        received_at=entry.received_at_ms,
        size_bytes=entry.size_bytes,
    )


def transfer(node: RunningNode, file: FileTransfer) -> delivery.Transfer:
    """A file on its way."""
    return delivery.Transfer(
        id=file.id,
        peer=file.peer,
        peer_name=node.name_of(file.peer),
        name=file.name,
        direction=file.direction,
        size_bytes=file.size_bytes,
        done_bytes=file.done_bytes,
        state=file.state,
        reason=file.reason,
        path=file.path,
    )


def presence(node: RunningNode, peer: str) -> tuple[bool, int | None]:
    """Whether a peer is connected now, and if not, since when; None if it never was."""
    if peer in node.service.connected_peers():
        return True, None
    return False, node.acquaintances.offline_since_ms(peer)
