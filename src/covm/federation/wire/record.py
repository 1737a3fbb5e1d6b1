"""The signed header of a record, its body, its log, and what follows what.

A header is a canonical DAG-CBOR map, sealed in an envelope of the kind `/covm/record`:

    v            1
    federation   link: the federation's id
    type         text: a type name
    key          text: what the record is about, up to 256 characters
    author       text: the peer id of the node that signed it
    incarnation  [number, nonce]: the author's life in which its log began
    seq          integer: counts up from 1 in the log
    prev         link or null: the record before it in the log; null exactly at 1
    parents      list of [log, seq, id]: the records that it is based on; sorted, none twice
    auth         {credential, identity}: by what the author writes: a credential (or the federation's id, for a founder)
                 and an entry of its member's identity log
    hlc          [milliseconds, counter]: a hybrid logical clock, the counter below 2^32; it orders what is shown and
                 proves nothing
    op           put, delete or erase
    body         link or null: the id of the encoded body; a put and an erase have one, a delete has none
    size         integer: bytes of the encoded body; 0 without one
    target       link or null: the record whose body an erase takes away; only an erase has one

The body, `{salt: 16 bytes, value}`, travels beside the header, so that it can be dropped while the header stays. The
value of an erase is a text: why. What is said there can be erased in turn, as anything can that has a body. A
record's id is the CID of its header. Each (type, author, incarnation) is an append-only *log*, whose id is the CID of
`[type, author, [number, nonce]]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec

from covm import _native
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import (
    MAX_COUNTER,
    MAX_DIRECT_PAYLOAD,
    MAX_INTEGER,
    MAX_PARENTS,
    MAX_RECORD_KEY,
    MAX_TIME_MS,
    SALT_SIZE,
)
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.names import is_type_name
from covm.federation.wire.record_key import key_problem
from covm.federation.wire.signed import PeerId, Signed, fitting, in_order, open_all, read_map, seal, write_fields

RECORD_VERSION: Final = 1

_CACHED_LOGS: Final = 4096
"""Answers kept by `log_id`: a node reads many records of few logs."""

Op = Literal["put", "delete", "erase"]
_Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]


class Hlc(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """A hybrid logical clock (Kulkarni et al. 2014); on the wire `[milliseconds, counter]`."""

    time_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
    counter: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNTER)]

    @property
    def following(self) -> Hlc:
        """The clock right ahead of this one: a full counter is carried into the next millisecond."""
        return Hlc(self.time_ms, self.counter + 1) if self.counter < MAX_COUNTER else Hlc(self.time_ms + 1, 0)


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """One record: its log, its number there and its id; on the wire `[log, seq, id]`."""

    log: _native.Link
    seq: _Seq
    id: _native.Link


class Auth(msgspec.Struct, frozen=True, gc=False):
    """By what a record is written."""

    credential: _native.Link
    """The author's admission, or the federation's id: the charter admits the founders."""
    identity: _native.Link
    """The newest entry of its member's identity log that the author knew."""


class RecordHeader(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record's header as a value. The module's docstring has the format and the meaning of each field."""

    federation: _native.Link
    type: str
    key: Annotated[str, msgspec.Meta(max_length=MAX_RECORD_KEY)]
    author: PeerId
    incarnation: Incarnation
    seq: _Seq
    prev: _native.Link | None
    parents: Annotated[tuple[Place, ...], msgspec.Meta(max_length=MAX_PARENTS)]
    auth: Auth
    hlc: Hlc
    op: Op
    body: _native.Link | None
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_DIRECT_PAYLOAD)]
    target: _native.Link | None
    v: int = RECORD_VERSION

    @property
    def log(self) -> _native.Link:
        """The id of the log that it belongs to."""
        return log_id(self.type, self.author, self.incarnation)


class RecordBody(msgspec.Struct, frozen=True):
    """What a put carries beside its header, and an erase: its value is a text, why."""

    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    value: Any


SignedRecord = Signed[RecordHeader]


def encode_record(header: RecordHeader) -> bytes:
    """The header's bytes, ready to be sealed. Raises `ValueError` for what `decode_record` would refuse."""
    fields, data = write_fields(header)
    try:
        _checked(fitting(fields, RecordHeader, "the record", RECORD_VERSION))
    except Malformed as error:
        raise ValueError(error.reason) from None
    return data


def decode_record(data: bytes) -> RecordHeader:
    """The header in these bytes. Raises `Malformed`.

    That the author signed it, that the federation is ours and that it may say so is for the caller to check.
    """
    return _checked(read_map(data, RecordHeader, "the record", RECORD_VERSION))


def open_records(envelopes: Sequence[bytes]) -> list[SignedRecord | Malformed]:
    """The header in each envelope, its author being the signer; `Malformed` in the place of one that is none."""
    return open_all(Kind.RECORD, envelopes, decode_record, lambda header: header.author)


def seal_record(key: _native.Keypair, header: RecordHeader) -> bytes:
    """The header's envelope. Raises `ValueError`, also for a key that is not its author's."""
    if key.peer_id != header.author:
        raise ValueError(f"the record names {header.author} as its author, and the key is that of {key.peer_id}")
    return seal(key, Kind.RECORD, encode_record(header))


def encode_record_body(salt: bytes, value: Any) -> bytes:
    """The body's bytes. Raises `ValueError` for a salt of another size and a value without a signed form."""
    if len(salt) != SALT_SIZE:
        raise ValueError(f"a record's salt has {SALT_SIZE} bytes, not {len(salt)}")
    return _native.encode({"salt": salt, "value": value})


def decode_record_body(data: bytes, header: RecordHeader) -> RecordBody:
    """The body that a header names. Raises `Malformed`, also when these are the bytes of another one."""
    if header.body is None or len(data) != header.size or _native.cid(data) != header.body:
        raise Malformed("the body is not the one that the record names")
    try:
        fields = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(str(error)) from None
    if type(fields) is not dict or fields.keys() != {"salt", "value"}:
        raise Malformed("a record's body has a salt and a value, and nothing else")
    salt = fields["salt"]
    if type(salt) is not bytes or len(salt) != SALT_SIZE:
        raise Malformed(f"the salt of a record's body is not {SALT_SIZE} bytes")
    return RecordBody(salt, fields["value"])


@lru_cache(maxsize=_CACHED_LOGS)
def log_id(type_name: str, author: str, incarnation: Incarnation) -> _native.Link:
    """The id of the log in which an author writes records of a type during an incarnation."""
    return _native.cid(_native.encode([type_name, author, [incarnation.number, incarnation.nonce]]))


def place_of(record: SignedRecord) -> Place:
    """Where a record stands, as parents and cuts name it."""
    return Place(record.body.log, record.body.seq, record.id)


def why_not_after(record: RecordHeader, before: SignedRecord | None) -> str | None:
    """The order rule: why a record does not follow the one that it names as `prev`; None when it does.

    `before` is the record whose id is `record.prev`, or None for a record that begins its log. What breaks this rule
    has no place in any log, whatever else arrives.
    """
    if before is None:
        return None if record.prev is None else "the record before it is not here"
    if record.prev != before.id:
        return "it names another record before it"
    if record.log != before.body.log or record.federation != before.body.federation:
        return "the record before it belongs to another log"
    if record.seq != before.body.seq + 1:
        return f"it says that it is number {record.seq}, behind number {before.body.seq}"
    return None


def _checked(header: RecordHeader) -> RecordHeader:
    if (problem := _contradiction(header)) is not None:
        raise Malformed(f"the record {problem}")
    return header


def _contradiction(header: RecordHeader) -> str | None:
    if not is_type_name(header.type):
        return "has a type that is not a type name"
    if (problem := key_problem(header.key)) is not None:
        return f"has a key that is none: {problem}"
    if (header.prev is None) != (header.seq == 1):
        return "has a number that contradicts whether there is one before it"
    if (header.op == "delete") != (header.body is None) or (header.body is None and header.size):
        return "is a delete with a body, or a put or an erase without one"
    if (header.op == "erase") != (header.target is not None):
        return "has a target without being an erase, or is an erase without one"
    if not in_order(header.parents, lambda place: (place.log.bytes, place.seq, place.id.bytes)):
        return "has parents out of order, or one of them twice"
    return None
