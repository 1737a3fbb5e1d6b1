"""What programs import: a node of a federation.

    from covm.federation import FederationConfig, FederationService, Identity, Message

    identity = Identity.load_or_create("~/.covm/identity.key")
    async with FederationService(identity, FederationConfig(home="~/.covm")) as federation:
        await federation.publish("governance.proposal", proposal)

The map of the house:

    service     `FederationService`, the public face              life       whose store it is, its incarnation, bans
    wiring      puts its parts together                           node       its life, in order
    peers/      who is let in, dialled, connected, banned         dispatch/  messages to handlers and to one peer
    gossip/     messages to everyone                              blobs/     files, and what is too large for gossip
    network/    libp2p · simulated                                store/     SQLite · PostgreSQL
    wire/       what travels: types, bodies, frames, limits       identity/  who is who and who may what: the rules
    membership/ who may what, now; invites                        sync/      replicas that converge
    publishing  everyone, or those who may read                  recording  durable types, which become records
    config/     how a node is set up                              ports      how components see each other
    router      the network's events to their components          home       the folder and its lock
    supervisor  owns the tasks, catches what nobody expected      offload    work that would hold up the loop
    allowed     what may be sent, asked before it is
    counters · status · version · own_info · reachability: what a node says of itself
    errors · events · clock

Names are loaded when they are first used, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from covm._native import Link as Link
    from covm.federation import errors as errors
    from covm.federation import events as events
    from covm.federation.blobs.transfer import FileTransfer as FileTransfer
    from covm.federation.config import ConnectionRetry as ConnectionRetry
    from covm.federation.config import FederationConfig as FederationConfig
    from covm.federation.dispatch.inbox_queries import InboxEntry as InboxEntry
    from covm.federation.dispatch.outbox_queries import SentMessage as SentMessage
    from covm.federation.dispatch.receipts import Receipt as Receipt
    from covm.federation.dispatch.subscriptions import Subscription as Subscription
    from covm.federation.dispatch.transaction import Tx as Tx
    from covm.federation.errors import FederationError as FederationError
    from covm.federation.events import EventStream as EventStream
    from covm.federation.gossip.log import GossipLogEntry as GossipLogEntry
    from covm.federation.gossip.log import GossipLogStream as GossipLogStream
    from covm.federation.gossip.protocol import PublishedMessage as PublishedMessage
    from covm.federation.identity import Identity as Identity
    from covm.federation.membership.views import MemberView as MemberView
    from covm.federation.membership.views import RequestView as RequestView
    from covm.federation.peers.bans import Ban as Ban
    from covm.federation.peers.record import PeerStatus as PeerStatus
    from covm.federation.ports import Refusal as Refusal
    from covm.federation.service import FederationService as FederationService
    from covm.federation.status import TypeInfo as TypeInfo
    from covm.federation.sync.collection import Collection as Collection
    from covm.federation.sync.entries import Change as Change
    from covm.federation.sync.entries import Entry as Entry
    from covm.federation.sync.entries import Erasure as Erasure
    from covm.federation.sync.entries import Version as Version
    from covm.federation.sync.resolvers import NamedResolver as NamedResolver
    from covm.federation.sync.resolvers import Resolution as Resolution
    from covm.federation.sync.resolvers import Sibling as Sibling
    from covm.federation.sync.sync_store import SyncChange as SyncChange
    from covm.federation.sync.sync_store import SyncStore as SyncStore
    from covm.federation.sync.sync_store import TransactionalSyncStore as TransactionalSyncStore
    from covm.federation.wire.message_type import message_type as message_type
    from covm.federation.wire.received import Message as Message

_HOMES = {
    "Ban": "covm.federation.peers.bans",
    "Change": "covm.federation.sync.entries",
    "Collection": "covm.federation.sync.collection",
    "ConnectionRetry": "covm.federation.config",
    "Entry": "covm.federation.sync.entries",
    "EventStream": "covm.federation.events",
    "FederationConfig": "covm.federation.config",
    "FederationError": "covm.federation.errors",
    "FederationService": "covm.federation.service",
    "FileTransfer": "covm.federation.blobs.transfer",
    "GossipLogEntry": "covm.federation.gossip.log",
    "GossipLogStream": "covm.federation.gossip.log",
    "Identity": "covm.federation.identity",
    "InboxEntry": "covm.federation.dispatch.inbox_queries",
    "Link": "covm._native",
    "NamedResolver": "covm.federation.sync.resolvers",
    "Resolution": "covm.federation.sync.resolvers",
    "Sibling": "covm.federation.sync.resolvers",
    "SyncChange": "covm.federation.sync.sync_store",
    "SyncStore": "covm.federation.sync.sync_store",
    "TransactionalSyncStore": "covm.federation.sync.sync_store",
    "MemberView": "covm.federation.membership.views",
    "Message": "covm.federation.wire.received",
    "PeerStatus": "covm.federation.peers.record",
    "PublishedMessage": "covm.federation.gossip.protocol",
    "Receipt": "covm.federation.dispatch.receipts",
    "SentMessage": "covm.federation.dispatch.outbox_queries",
    "Subscription": "covm.federation.dispatch.subscriptions",
    "Refusal": "covm.federation.ports",
    "RequestView": "covm.federation.membership.views",
    "Tx": "covm.federation.dispatch.transaction",
    "TypeInfo": "covm.federation.status",
    "Erasure": "covm.federation.sync.entries",
    "Version": "covm.federation.sync.entries",
    "errors": "",
    "events": "",
    "message_type": "covm.federation.wire.message_type",
}

__all__ = [
    "Ban",
    "Change",
    "Collection",
    "ConnectionRetry",
    "Entry",
    "Erasure",
    "EventStream",
    "FederationConfig",
    "FederationError",
    "FederationService",
    "FileTransfer",
    "GossipLogEntry",
    "GossipLogStream",
    "Identity",
    "InboxEntry",
    "Link",
    "MemberView",
    "Message",
    "NamedResolver",
    "PeerStatus",
    "PublishedMessage",
    "Receipt",
    "Refusal",
    "RequestView",
    "Resolution",
    "SentMessage",
    "Sibling",
    "Subscription",
    "SyncChange",
    "SyncStore",
    "TransactionalSyncStore",
    "Tx",
    "TypeInfo",
    "Version",
    "errors",
    "events",
    "message_type",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name) if home else import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
