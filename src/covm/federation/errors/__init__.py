"""Everything that can go wrong, as one tree.

Each error carries its facts as fields and a sentence that says what happened, why, and what to try. Errors of
asyncio and of the standard library pass through only where a user made the mistake there (`TypeError`).

root · network · message · access · store · setup: a branch of the tree each.
"""

from __future__ import annotations

from covm.federation.errors.access import (
    AccessError,
    IdentityError,
    NotAdmitted,
    NotAMember,
    NotAuthorized,
    PassphraseNeeded,
    PeerBanned,
    UnknownMember,
    WrongPassphrase,
)
from covm.federation.errors.message import (
    FileUnreadable,
    InvalidMessage,
    MessageCancelled,
    MessageError,
    MessageExpired,
    MessageQuarantined,
    MessageRefused,
    MessageTooLarge,
    NotRetriable,
    OutboxFull,
    TransferFailed,
    UnknownMessage,
    UnknownMessageType,
)
from covm.federation.errors.network import (
    ConnectionFailed,
    ConnectionLimitReached,
    DeliveryTimeout,
    InvalidAddress,
    NetworkError,
    NodeFailed,
    PeerNotConnected,
    UnknownPeer,
    WrongPeer,
)
from covm.federation.errors.root import FederationError
from covm.federation.errors.setup import AlreadyStarted, ConfigError, ConfigProblem, LifecycleError, NotStarted
from covm.federation.errors.store import HomeInUse, StoreCorrupt, StoreError, StoreFull, StoreTooNew, StoreUnavailable
from covm.federation.errors.sync import (
    BodyUnavailable,
    BrokenExport,
    FileUnusable,
    NothingHeld,
    QuotaExceeded,
    SyncError,
    SyncInterrupted,
    SyncStoreBusy,
    UnknownCursor,
    UnknownEntry,
    UnknownFork,
    UnknownSyncType,
)

__all__ = [
    "AccessError",
    "AlreadyStarted",
    "BodyUnavailable",
    "BrokenExport",
    "ConfigError",
    "ConfigProblem",
    "ConnectionFailed",
    "ConnectionLimitReached",
    "DeliveryTimeout",
    "FederationError",
    "FileUnreadable",
    "FileUnusable",
    "HomeInUse",
    "IdentityError",
    "InvalidAddress",
    "InvalidMessage",
    "LifecycleError",
    "MessageCancelled",
    "MessageError",
    "MessageExpired",
    "MessageQuarantined",
    "MessageRefused",
    "MessageTooLarge",
    "NetworkError",
    "NodeFailed",
    "NotAMember",
    "NotAdmitted",
    "NotAuthorized",
    "NotRetriable",
    "NotStarted",
    "NothingHeld",
    "OutboxFull",
    "PassphraseNeeded",
    "PeerBanned",
    "PeerNotConnected",
    "QuotaExceeded",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreTooNew",
    "StoreUnavailable",
    "SyncError",
    "SyncInterrupted",
    "SyncStoreBusy",
    "TransferFailed",
    "UnknownCursor",
    "UnknownEntry",
    "UnknownFork",
    "UnknownMember",
    "UnknownMessage",
    "UnknownMessageType",
    "UnknownPeer",
    "UnknownSyncType",
    "WrongPassphrase",
    "WrongPeer",
]
