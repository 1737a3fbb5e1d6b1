"""The native core of covm, in Rust: DAG-CBOR, signed envelopes, node keys.

What is declared here holds no rule of a federation. Every function that reads bytes from outside bounds them before it
builds anything.
"""

import builtins
import os
from collections.abc import Sequence
from typing import Any, NoReturn, Self, final

__version__: str

__all__ = [
    "DecodeError",
    "EncodeError",
    "KeyFileError",
    "Keypair",
    "Link",
    "Node",
    "NodeBusy",
    "NodeStopped",
    "__version__",
    "cid",
    "decode",
    "encode",
    "open_envelopes",
    "parse_multiaddr",
    "parse_peer_id",
    "split_records",
    "switch_off",
    "switch_on",
    "switches",
]

def switch_off(name: str) -> None:
    """Turn a defence off for the whole process, so that a test can show that it fails without it.

    Raises RuntimeError in a build without switches, ValueError for a name that is no defence's.
    """

def switch_on(name: str) -> None:
    """Turn a defence on again. Raises as `switch_off` does."""

def switches() -> list[str]:
    """The names of the defences that can be switched off: none in a build without switches."""

class EncodeError(ValueError):
    """A value has no canonical encoding.

    `path` leads to it, as `payload.options[0].price`; it is empty for the outermost value. `reason` names the rule:
    too_large, depth, entries, items, key_length, key_type, float, integer_range, utf8 or type.
    """

    path: str
    reason: str

class DecodeError(ValueError):
    """Bytes are not canonical DAG-CBOR.

    `reason` names the rule: too_large, truncated, trailing, not_minimal, indefinite, float, simple, tag, link,
    integer_range, utf8, key_type, key_length, key_order, key_duplicate, depth, entries or items. `offset` is the byte
    at which it was found broken.
    """

    reason: str
    offset: int

@final
class Link:
    """A link to other content: a CID, version 0 or 1, from its text or its bytes.

    There is one spelling of each: text in base32 (base58 for version 0), bytes without anything after them.
    Raises ValueError for anything else.
    """

    def __new__(cls, value: str | builtins.bytes) -> Link: ...
    @property
    def bytes(self) -> builtins.bytes:
        """The binary CID."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[builtins.bytes]: ...

def encode(value: Any) -> bytes:
    """Encode a value as canonical DAG-CBOR.

    Takes None, bool, int (-2**63 to 2**64-1), str, bytes, list, tuple, dict with str keys, and Link, by exact type.
    Raises EncodeError, with the path of the value, for anything else, a float above all, and beyond the limits:
    2 MiB, 32 levels, keys of 256 bytes, 65,536 entries in one container and 262,144 items in all.
    """

def decode(data: bytes) -> Any:
    """Decode canonical DAG-CBOR: None, bool, int, str, bytes, list, dict and Link.

    Nothing is built from bytes that break a rule or a limit (those of `encode`); they raise DecodeError. What decodes
    encodes to the same bytes again.
    """

def cid(data: bytes) -> Link:
    """The id of encoded bytes: CIDv1, dag-cbor, sha2-256."""

class KeyFileError(Exception):
    """A key file could not be read or made.

    `code` is missing, exists, permissions, owner, symlink, damaged, passphrase_needed, wrong_passphrase, changed or io.
    The message says what, why and what to try.
    """

    code: str

@final
class Keypair:
    """A node's Ed25519 key pair.

    The secret never reaches Python: the pair can sign, and show its peer id. It can be neither pickled nor copied.
    """

    @staticmethod
    def generate() -> Keypair:
        """A new key that lives in memory only."""

    @staticmethod
    def from_seed(seed: bytes) -> Keypair:
        """The key that follows from a seed of 32 bytes, for tests and simulations: the seed stays in Python's memory.

        Raises ValueError for a seed of another length.
        """

    @staticmethod
    def load(path: str | os.PathLike[str], passphrase: bytes | None = None) -> Keypair:
        """The key in the file at `path`; a passphrase that it does not need is not looked at.

        Raises KeyFileError, also if others can read the file.
        """

    @staticmethod
    def peek(path: str | os.PathLike[str]) -> tuple[str, str, bool]:
        """Whose key the file at `path` has, and whether it is encrypted: (peer id, `did:key`, is encrypted).

        Of an encrypted one nobody has proved it yet. Raises KeyFileError.
        """

    @staticmethod
    def create(path: str | os.PathLike[str], passphrase: bytes | None = None) -> Keypair:
        """A new key, written to `path`, where nothing may be, encrypted if there is a passphrase.

        It is on disk when this returns. Missing directories are made with mode 0700. Raises KeyFileError.
        """

    @staticmethod
    def set_passphrase(path: str | os.PathLike[str], old: bytes | None, new: bytes | None) -> None:
        """Write the key at `path` again, encrypted with `new`, or not at all if that is None.

        After a crash it is the old file or the new one. Raises KeyFileError.
        """

    @property
    def peer_id(self) -> str:
        """The peer id, in base58."""

    @property
    def did_key(self) -> str:
        """The same public key as a `did:key`."""

    def seal(self, kind: str, payloads: Sequence[bytes]) -> list[bytes]:
        """Sign each payload as `kind` and wrap it in an envelope, in the same order.

        Other threads run meanwhile, and a large batch is spread over several. Raises ValueError for a payload with
        which an envelope would be larger than anyone opens (1 MiB + 64 KiB).
        """

    def __reduce__(self) -> NoReturn: ...

def open_envelopes(kind: str, envelopes: Sequence[bytes]) -> list[tuple[str, bytes] | str]:
    """Open each envelope as `kind`: (author's peer id, payload), or the name of why it was refused.

    The reasons are too_large, malformed, not_canonical, wrong_kind, bad_signature and key_type. Other threads run
    meanwhile, and a large batch is spread over several.
    """

def split_records(data: bytes, bare: bytes, limit: int) -> tuple[list[bytes], list[bytes | None]]:
    """The records of a sync frame, which stand one behind the other: their envelopes, and each one's body or None.

    `bare` has a bit for each, the lowest of the first byte first: set where no body follows. Raises ValueError for
    what are not records, and for more than `limit`. Nothing is verified.
    """

class NodeStopped(RuntimeError):
    """The node was stopped, or failed; it takes no more commands."""

class NodeBusy(RuntimeError):
    """16,384 commands wait for their results; the command was not taken. Await some, then give it again."""

@final
class Node:
    """A libp2p node. Commands return a number at once; what they come to is in the events of `drain`.

    An event is a tuple, its name first:

    | name | fields |
    |---|---|
    | `done` | command, result |
    | `error` | command, code, message, details: [(str, str)] |
    | `addresses` | [multiaddr] |
    | `opened` | connection, peer, address, outbound, relayed, relay or None |
    | `closed` | connection, peer, reason, remaining |
    | `hello` | connection, peer, hello: bytes, outbound: answer with `admit` or `refuse` in 5 s, 30 s after a `talk` |
    | `talked` | connection, peer, bytes: the peer says it before its answer |
    | `talk_sent` | connection, peer: a `talk` that found no room may be tried again |
    | `refused`, `join_failed` | connection, peer, reason |
    | `admitted` | peer, connection: both sides are open |
    | `unadmitted` | peer: its last open connection is gone |
    | `topic_joined`, `topic_left` | peer, topic |
    | `gossip` | handle, topic, source, author, gossip id, body, size in bytes: answer with `judge` |
    | `gossip_rejected` | topic, source, reason, size in bytes |
    | `stream_opened` | stream, peer, protocol |
    | `frames` | stream, peer, [bytes]: answer with `release` |
    | `writable` | stream |
    | `stream_closed` | stream, reason |
    | `stream_refused` | peer, protocol, reason |
    | `identified` | peer, agent, [protocol], [multiaddr], observed multiaddr |
    | `discovered` | peer, [multiaddr], `mdns` or `kademlia` |
    | `ping` | peer, round trip in seconds |
    | `reachability` | `unknown`, `public` or `private` |
    | `external_address` | multiaddr or empty, source, state, detail: see below |
    | `reservation` | relay, `accepted`, `renewed` or `lost`, reason |
    | `hole_punch` | peer, connection or None, reason |
    | `failed` | reason: the node ended by itself, nothing follows |

    `relay_terms`: the seconds of a reservation and of a circuit, and the bytes of a circuit, where they are not the
    core's own.

    The source of an external address is announced, autonat, upnp or relay, its state confirmed, expired or unreachable.

    Codes of `error`: unreachable, wrong_peer, invalid_address, limit, blocked, listen, not_connected, stream,
    too_large, relay, stopped. Commands raise NodeStopped after the end, ValueError for an address or peer id that is
    none, and NodeBusy with 16,384 results undrained, RuntimeError after a fork. Dropping the object ends the node.
    """

    def __new__(
        cls,
        keypair: Keypair,
        *,
        hello: bytes,
        agent: str,
        gossip_kind: str,
        stream_protocols: Sequence[str],
        announce: Sequence[str],
        kademlia: str | None = None,
        mdns: bool = False,
        reachability: str = "auto",
        max_connections: int = 50,
        relay_server: bool = False,
        relay_terms: tuple[int, int, int] | None = None,
        relay_client: bool = False,
        autonat: bool = False,
        dcutr: bool = False,
        upnp: bool = False,
    ) -> Self: ...
    @property
    def peer_id(self) -> str:
        """Our peer id."""
    def fileno(self) -> int:
        """A descriptor that is readable while `drain` has something."""
    def drain(self, max: int) -> list[tuple[Any, ...]]:
        """Takes at most `max` events, in order. Never blocks."""
    def listen(self, addresses: Sequence[str]) -> int:
        """Listens on every address, or on none. Result: the addresses that came of it."""
    def dial(self, peer_id: str | None, addresses: Sequence[str]) -> int:
        """Connects to a peer, or to whoever answers at the first address. Result: the peer that did."""
    def disconnect(self, peer_id: str) -> int:
        """Closes every connection to a peer."""
    def block(self, peer_id: str) -> None:
        """Refuses a peer from now on and closes what stands."""
    def unblock(self, peer_id: str) -> None:
        """Lifts a block."""
    def network_changed(self) -> None:
        """The network has changed: what was found out of our addresses is forgotten and asked again, and connections
        are closed whose own address is gone."""
    def admit(self, connection: int) -> None:
        """Answers a HELLO: this side is open."""
    def refuse(self, connection: int, reason: str) -> None:
        """Answers a HELLO: no, with the reason (at most 256 bytes of it are said)."""
    def talk(self, connection: int, frames: Sequence[bytes]) -> bool:
        """Says something before our answer to a HELLO, all or none: False when more than 1 MiB would wait to be
        written, then `talk_sent` follows. After our answer, or the connection's end, it is dropped, and True.

        Raises ValueError for a frame that is empty or above 4,095 bytes, and for more than 1 MiB at once.
        """
    def grant(self, connection: int, size: int) -> None:
        """Lets the peer say so many bytes more than 64 KiB before its answer, 16 MiB in sum."""
    def set_hello(self, hello: bytes) -> None:
        """Changes what connections established from now on say first. Raises ValueError beyond 4,095 bytes."""
    def subscribe(self, topic: str) -> int:
        """Takes part in a topic."""
    def publish(self, topic: str, envelopes: Sequence[bytes]) -> int:
        """Gossips sealed envelopes, in order. Result: (gossip id, subscribed peers) for each."""
    def judge(self, verdicts: Sequence[tuple[int, int]]) -> None:
        """Gives verdicts on gossip by handle: 0 accept, 1 ignore, 2 reject."""
    def charge(self, peer_id: str, amount: float) -> None:
        """Lowers a peer's application score; half of it is forgiven after a minute."""
    def open_stream(self, peer_id: str, protocol: str) -> int:
        """Opens our stream to an admitted peer. Result: its number."""
    def send(self, stream: int, frames: Sequence[bytes]) -> bool:
        """Hands frames to a stream, all or none: False when it has no credit, then `writable` follows.

        Raises ConnectionError when the stream has ended, ValueError for a frame that is empty or too large.
        """
    def release(self, stream: int, size: int) -> None:
        """Gives back credit for received frames; also after the stream closed, for what it still owes."""
    def close_stream(self, stream: int) -> None:
        """Sends what a stream has queued, then closes it."""
    def seal(self, kind: str, payloads: Sequence[bytes]) -> int:
        """Signs payloads on the core's threads. Result: the envelopes, in order."""
    def open(self, kind: str, envelopes: Sequence[bytes]) -> int:
        """Verifies envelopes on the core's threads. Result: (author, payload) or the reason, in order."""
    def reserve(self, relay: str, address: str) -> int:
        """Reserves a place at a relay, connecting first if need be. Result: the addresses through it, of which there is
        one.
        """
    def drop_reservation(self, relay: str) -> int:
        """Gives a reservation back, and closes the connection to the relay with it."""
    def allow_relay(self, peer_id: str, circuits: int, seconds: float) -> int:
        """Lets a stranger open so many circuits through our relay, for so long; 0 takes its pass away.

        Raises ValueError for what is no length of time.
        """
    def stats(self) -> dict[str, int]:
        """Figures that the node keeps about itself."""
    def stop(self) -> int:
        """Ends the node. Result: None, when its sockets are closed and its ports free."""
    def provoke_panic(self, in_task: bool) -> None:
        """Panics inside the node, to show what happens then. Raises RuntimeError in a build without switches."""

def parse_multiaddr(text: str) -> tuple[str, str | None]:
    """The address without its `/p2p` end, and the peer it names. Raises ValueError, saying what is wrong."""

def parse_peer_id(text: str) -> str:
    """The peer id as the core writes it. Raises ValueError."""
