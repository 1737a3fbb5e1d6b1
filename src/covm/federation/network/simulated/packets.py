"""What travels over a simulated connection, as values; a pipe carries them in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identify:
    """What a node says about itself to whoever connects, and where it sees the other."""

    agent: str
    protocols: tuple[str, ...]
    addresses: tuple[str, ...]
    observed_address: str


@dataclass(frozen=True, slots=True)
class Hello:
    """The first word of the join exchange."""

    hello: bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """This side has admitted the other."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What the sender's application says before its decision."""

    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """This side does not admit the other, and says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """The last packet of a connection."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Topics that the sender joined."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """A topic that the sender left."""

    topic: str


@dataclass(frozen=True, slots=True)
class Gossip:
    """One gossiped envelope."""

    topic: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class StreamOpen:
    """Asks for a stream. `key` names it on its connection, on both sides."""

    key: int
    protocol: str


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """The stream stands."""

    key: int


@dataclass(frozen=True, slots=True)
class StreamFrames:
    """Frames of a stream, in order."""

    key: int
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StreamCredit:
    """The reader dealt with so many bytes; the writer may send as many more."""

    key: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream is over, or was never accepted."""

    key: int
    reason: str


Packet = (
    Identify
    | Hello
    | Ready
    | Talk
    | Refused
    | Close
    | Subscribe
    | Unsubscribe
    | Gossip
    | StreamOpen
    | StreamAccepted
    | StreamFrames
    | StreamCredit
    | StreamEnded
)
