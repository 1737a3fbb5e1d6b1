"""What can go wrong with messages and files."""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.errors.root import FederationError


class MessageError(FederationError):
    """A message cannot be sent, or was not taken."""


@dataclass(eq=False)
class MessageTooLarge(MessageError):
    """The message exceeds its limit; nothing was sent."""

    what: str
    size_bytes: int
    limit_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.what} has {self.size_bytes:,} bytes, the limit is {self.limit_bytes:,}; "
            "send less, or split it into several messages"
        )


@dataclass(eq=False)
class UnknownMessageType(MessageError):
    """The type is not registered at this node."""

    type: str
    hint: str = "register it (types=[...]), or send plain JSON, text or bytes under this name"

    def __str__(self) -> str:
        return f"message type {self.type!r} is not registered; {self.hint}"


@dataclass(eq=False)
class InvalidMessage(MessageError):
    """The payload does not fit. `path` leads to the bad field, as in `payload.options[0]`."""

    type: str
    path: str
    why: str

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return f"not a valid {self.type} message{where}: {self.why}"


@dataclass(eq=False)
class MessageRefused(MessageError):
    """The receiver refused the message, for good, and said why."""

    message_id: str
    peer: str
    why: str

    def __str__(self) -> str:
        return f"message {self.message_id} was refused by {self.peer}: {self.why}"


@dataclass(eq=False)
class MessageExpired(MessageError):
    """The message's time to live ended before the receiver had it."""

    message_id: str
    peer: str

    def __str__(self) -> str:
        return f"message {self.message_id} expired before {self.peer} took it; send it again when the peer is back"


@dataclass(eq=False)
class MessageQuarantined(MessageError):
    """The receiver has the message, but its handler failed on it; the receiver's operator sees why."""

    message_id: str
    peer: str
    why: str

    def __str__(self) -> str:
        return f"message {self.message_id} reached {self.peer}, but handling it there failed: {self.why}"


@dataclass(eq=False)
class MessageCancelled(MessageError):
    """This node gave the message up (it stopped) before its fate was known."""

    message_id: str
    peer: str
    why: str

    def __str__(self) -> str:
        return f"message {self.message_id} for {self.peer} was given up: {self.why}; it may have arrived all the same"


@dataclass(eq=False)
class NotRetriable(MessageError):
    """A message that was sent before cannot be tried again under its id; nothing of it was changed."""

    message_id: str
    state: str
    why: str

    def __str__(self) -> str:
        return f"message {self.message_id} is {self.state} and is not tried again: {self.why}"


@dataclass(eq=False)
class FileUnreadable(MessageError):
    """A file cannot be sent, because it cannot be read; nothing was offered."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} cannot be sent: {self.why}; give the path of a file that this node's user can read"


@dataclass(eq=False)
class TransferFailed(MessageError):
    """A file did not arrive, and will not; nothing of it is left at the receiver."""

    transfer_id: str
    peer: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} did not go through ({self.peer}): {self.why}; send it again once that is mended"


@dataclass(eq=False)
class UnknownMessage(MessageError):
    """No message of this id is known here, or no longer."""

    message_id: str
    where: str = "outbox"

    def __str__(self) -> str:
        return (
            f"no message {self.message_id} is in the {self.where}: it never was, or its record was pruned; "
            f"`covm federation {self.where}` lists what is there"
        )


@dataclass(eq=False)
class OutboxFull(MessageError):
    """Too much is waiting to be sent."""

    peer: str
    waiting: int
    limit: int
    unit: str = "messages"

    def __str__(self) -> str:
        return (
            f"{self.waiting:,} {self.unit} already wait for {self.peer} (limit {self.limit:,}); "
            "wait for receipts before you send more"
        )
