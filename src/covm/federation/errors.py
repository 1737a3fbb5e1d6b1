"""Everything that can go wrong, as one tree.

Each error carries its facts as fields and a sentence that says what happened, why, and what to try. Errors of
asyncio and of the standard library pass through only where a user made the mistake there (`TypeError`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class FederationError(Exception):
    """The root of every error that covm raises."""


class NetworkError(FederationError):
    """Something between this node and another failed."""


@dataclass(eq=False)
class ConnectionFailed(NetworkError):
    """No address of a peer answered as that peer. `attempts` maps each address to its error."""

    target: str
    attempts: Mapping[str, str]
    hint: str = "check that the peer runs, that its address is right, and that a firewall lets it through"

    def __str__(self) -> str:
        tried = "; ".join(f"{address}: {error}" for address, error in self.attempts.items()) or "no address is known"
        return f"could not connect to {self.target} ({tried}); {self.hint}"


@dataclass(eq=False)
class PeerNotConnected(NetworkError):
    """The peer is known, but not connected now."""

    peer: str
    why: str = "there is no open connection"

    def __str__(self) -> str:
        return f"peer {self.peer} is not connected: {self.why}; connect first (connect_peer), or wait for it to return"


@dataclass(eq=False)
class UnknownPeer(NetworkError):
    """Nothing is known of this peer."""

    peer: str

    def __str__(self) -> str:
        return f"peer {self.peer} is not known here; see `covm federation peers`, or connect to its address"


@dataclass(eq=False)
class WrongPeer(NetworkError):
    """Another peer answered at the address than the address names."""

    address: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"{self.address} answered as {self.found}, not as {self.expected}; "
            "the address is out of date, or someone else has it: ask the peer for its present address"
        )


@dataclass(eq=False)
class InvalidAddress(NetworkError):
    """The text is not a multiaddr that this node can use."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.address!r} is not a usable address: {self.why}; "
            "an address looks like /ip4/203.0.113.5/tcp/9000/p2p/12D3KooW..."
        )


@dataclass(eq=False)
class ConnectionLimitReached(NetworkError):
    """The node holds as many connections as `max_connections` allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} connections are in use; disconnect a peer, or raise max_connections"


@dataclass(eq=False)
class DeliveryTimeout(NetworkError, TimeoutError):
    """A receipt did not reach the awaited state in time. The message is still under way."""

    message_id: str
    awaited: str
    state: str
    timeout_s: float

    def __str__(self) -> str:
        return (
            f"message {self.message_id} was not {self.awaited} within {self.timeout_s:g} s (it is {self.state}); "
            "it is still under way: wait again on the receipt, or give it longer"
        )


@dataclass(eq=False)
class NodeFailed(NetworkError):
    """The native core ended by itself; the process lives. Start a new service."""

    why: str

    def __str__(self) -> str:
        return f"the network core failed and was ended: {self.why}; start the node anew, and please report this"


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


class AccessError(FederationError):
    """Not allowed."""


@dataclass(eq=False)
class PeerBanned(AccessError):
    """This node has banned the peer."""

    peer: str
    reason: str
    until: str

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"peer {self.peer} is banned until {self.until}{why}; lift it with `covm federation unban`"


@dataclass(eq=False)
class NotAdmitted(AccessError):
    """A peer answered, and one side refused the other. `by` is the peer id of the side that refused."""

    peer: str
    by: str
    why: str

    def __str__(self) -> str:
        side = "it refused this node" if self.by == self.peer else "this node refused it"
        return f"peer {self.peer} was reached, but {side}: {self.why}"


@dataclass(eq=False)
class NotAuthorized(AccessError):
    """The act is not allowed here."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what} is not allowed: {self.why}"


@dataclass(eq=False)
class IdentityError(FederationError):
    """The node's key file cannot be used. `code`: missing, exists, permissions, owner, symlink, damaged, io."""

    path: str
    code: str
    why: str

    def __str__(self) -> str:
        return self.why


class StoreError(FederationError):
    """The node's home cannot be used."""


@dataclass(eq=False)
class HomeInUse(StoreError):
    """Another process runs a node on this home."""

    home: str

    def __str__(self) -> str:
        return f"another node already runs on {self.home}; stop it first, or give this one another home"


@dataclass(eq=False)
class StateDamaged(StoreError):
    """A small state file in the home cannot be read."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.why}; restore it from a backup, or move it away to begin without it"


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong in a configuration: the field, the value and where it came from, what is allowed."""

    field: str
    value: str
    allowed: str
    source: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value} ({self.source}): {self.allowed}"


@dataclass(eq=False)
class ConfigError(FederationError):
    """The configuration is wrong; every problem is listed at once."""

    problems: Sequence[ConfigProblem]

    def __str__(self) -> str:
        count = len(self.problems)
        head = "the configuration has a problem:" if count == 1 else f"the configuration has {count} problems:"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


class LifecycleError(FederationError):
    """The service is not in the right state for the call."""


@dataclass(eq=False)
class NotStarted(LifecycleError):
    """The service does not run: not started yet, or stopped."""

    what: str = "the federation service"

    def __str__(self) -> str:
        return f"{self.what} is not running; call start(), or use it inside `async with`"


@dataclass(eq=False)
class AlreadyStarted(LifecycleError):
    """A service is started once."""

    what: str = "the federation service"

    def __str__(self) -> str:
        return f"{self.what} was already started; a stopped service is not started again, make a new one"
