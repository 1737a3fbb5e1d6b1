"""The signed body of a message.

A body is a canonical DAG-CBOR map, sealed in an envelope of the kind `/covm/message`:

    v            1
    federation   link: the federation's id
    type         text: a type name, dotted lower case
    author       text: the author's peer id; must be the peer whose key signed the envelope
    incarnation  [number, nonce]: the author's life in which it was sent; nonce has 8 bytes
    seq          integer: counts up for each recipient node, or for the gossip topic, within the incarnation
    mid          16 bytes, random: the id that users see, the same when the message is sent again
    to           text or null: the recipient's peer id; null when gossiped
    sent_at      integer: milliseconds since 1970-01-01 UTC, by the author's clock; proves nothing
    expires_at   integer or null: milliseconds; after it the author no longer sends it
    payload      any value without floats; null when `content` is there
    content      optional, {link, size}: the encoded payload is fetched by its id, and has so many bytes

Further keys are kept and ignored. A body's id is its CID (v1, dag-cbor, sha2-256).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from covm import _native
from covm.federation.errors import InvalidMessage, MessageTooLarge
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD, MAX_INTEGER, MAX_PEER_ID, MAX_TIME_MS, MID_SIZE, NONCE_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.names import is_type_name
from covm.federation.wire.reasons import why_not

__all__ = ["BODY_VERSION", "Content", "Malformed", "MessageBody", "decode_body", "encode_body", "payload_size"]

BODY_VERSION: Final = 1

_PeerId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PEER_ID)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]

_KEYS = frozenset(
    ("v", "federation", "type", "author", "incarnation", "seq", "mid", "to", "sent_at", "expires_at", "payload")
)
_KEY_COUNT = len(_KEYS)
_CONTENT: Final = "content"


class Content(msgspec.Struct, frozen=True):
    """What stands for a payload that is fetched: the root of its tree of chunks, and its size encoded, in bytes."""

    link: _native.Link
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]


class MessageBody(msgspec.Struct, frozen=True, kw_only=True):
    """A message's body as a value. The module's docstring has the format and the meaning of each field."""

    federation: _native.Link
    type: str
    author: _PeerId
    incarnation: Incarnation
    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
    mid: Annotated[bytes, msgspec.Meta(min_length=MID_SIZE, max_length=MID_SIZE)]
    to: _PeerId | None
    sent_at: _Milliseconds
    expires_at: _Milliseconds | None
    payload: Any
    content: Content | None = None
    v: int = BODY_VERSION
    extra: dict[str, Any] | None = None
    """Keys that this version does not know, kept so that the body encodes to the same bytes again."""

    @property
    def message_id(self) -> str:
        """The id that users see: `mid` in hexadecimal."""
        return self.mid.hex()


def encode_body(body: MessageBody, limit_bytes: int = MAX_DIRECT_PAYLOAD) -> bytes:
    """The body's bytes, ready to be sealed.

    Raises `MessageTooLarge` when the encoded payload exceeds `limit_bytes`, and `InvalidMessage` with the path of what
    has no signed form (a float, a key that is not text, an object of a class of its own) or lies outside its bounds:
    what encodes also decodes, since a body that every receiver refuses would be sent again for ever.
    """
    if not _fits(body):
        raise _unfit(body)
    fields = {
        "v": body.v,
        "federation": body.federation,
        "type": body.type,
        "author": body.author,
        "incarnation": [body.incarnation.number, body.incarnation.nonce],
        "seq": body.seq,
        "mid": body.mid,
        "to": body.to,
        "sent_at": body.sent_at,
        "expires_at": body.expires_at,
        "payload": body.payload,
    }
    if body.content is not None:
        fields[_CONTENT] = {"link": body.content.link, "size": body.content.size}
    if body.extra:
        fields = {**body.extra, **fields}
    try:
        encoded = _native.encode(fields)
    except _native.EncodeError as error:
        raise _unencodable(body, error, limit_bytes) from None
    # Most messages are far below the limit: only a body above it is worth a second look at the payload alone.
    if len(encoded) > limit_bytes and (size := payload_size(body.payload)) > limit_bytes:
        raise MessageTooLarge(f"the payload of {body.type}", size, limit_bytes)
    return encoded


def decode_body(data: bytes) -> MessageBody:
    """The body in these bytes; its payload stays as it is on the wire (see `TypeRegistry.from_payload`).

    Raises `Malformed` for everything else. That the author signed it, and that the federation is ours, is for the
    caller to check.
    """
    try:
        fields = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(str(error)) from None
    if type(fields) is not dict:
        raise Malformed("the body is not a map")
    if fields.get("v") != BODY_VERSION:
        raise Malformed(f"the body has version {fields.get('v')!r:.20}; this node reads version {BODY_VERSION}")
    # With `v` there and ten other fields required, eleven keys are exactly the known ones that are always there.
    extra = None
    if len(fields) > _KEY_COUNT:
        extra = {key: value for key, value in fields.items() if key not in _KEYS and key != _CONTENT}
        fields = {key: value for key, value in fields.items() if key in _KEYS or key == _CONTENT}
    try:
        body = msgspec.convert(fields, MessageBody)
    except msgspec.ValidationError as error:
        raise Malformed(f"the body does not fit: {error}") from None
    # To msgspec text can stand for bytes, in base64. Saying so for two fields costs less than `builtin_types`.
    if type(fields["mid"]) is not bytes or type(fields["incarnation"][1]) is not bytes:
        raise Malformed("the body has text where bytes belong")
    if not is_type_name(body.type):
        raise Malformed("the body's type is not a type name")
    return body if not extra else msgspec.structs.replace(body, extra=extra)


def payload_size(payload: Any) -> int:
    """Bytes of the encoded payload, whatever its size: what the limits on size count."""
    try:
        return len(_native.encode(payload))
    except _native.EncodeError as error:
        if error.reason != "too_large":
            raise
    # More than the codec writes at once: add up the parts.
    if isinstance(payload, dict):
        return _head_size(len(payload)) + sum(payload_size(key) + payload_size(item) for key, item in payload.items())
    if isinstance(payload, list | tuple):
        return _head_size(len(payload)) + sum(map(payload_size, payload))
    content = payload.encode() if isinstance(payload, str) else payload
    return _head_size(len(content)) + len(content)


def _fits(body: MessageBody) -> bool:
    """The bounds that `decode_body` holds a body to, as plain comparisons: this is done for every message sent."""
    to, incarnation, expires_at = body.to, body.incarnation, body.expires_at
    return (
        body.v == BODY_VERSION
        and is_type_name(body.type)
        and 1 <= len(body.author) <= MAX_PEER_ID
        and (to is None or 1 <= len(to) <= MAX_PEER_ID)
        and 0 <= incarnation.number <= MAX_INTEGER
        and len(incarnation.nonce) == NONCE_SIZE
        and 0 <= body.seq <= MAX_INTEGER
        and len(body.mid) == MID_SIZE
        and 0 <= body.sent_at <= MAX_TIME_MS
        and (expires_at is None or 0 <= expires_at <= MAX_TIME_MS)
        and (body.content is None or 0 <= body.content.size <= MAX_INTEGER)
    )


def _unfit(body: MessageBody) -> InvalidMessage:
    """What is wrong with a body that does not fit, in the decoder's words."""
    if body.v != BODY_VERSION:
        return InvalidMessage(body.type, "v", f"is {body.v}; this node writes version {BODY_VERSION}")
    if not is_type_name(body.type):
        return InvalidMessage(body.type, "type", "is not a type name as it travels, as in governance.proposal")
    fields = {name: getattr(body, name) for name in _KEYS}
    try:
        msgspec.convert({**fields, "incarnation": [body.incarnation.number, body.incarnation.nonce]}, MessageBody)
    except msgspec.ValidationError as error:
        path, why = why_not(str(error))
        return InvalidMessage(body.type, path.removeprefix("payload."), why)
    return InvalidMessage(body.type, "", "a field of the body is outside its bounds")


def _unencodable(body: MessageBody, error: _native.EncodeError, limit_bytes: int) -> InvalidMessage | MessageTooLarge:
    path = error.path
    if error.reason == "too_large":
        try:
            return MessageTooLarge(f"the payload of {body.type}", payload_size(body.payload), limit_bytes)
        except _native.EncodeError as within:
            path, error = "payload", within
    return InvalidMessage(body.type, path, str(error).removeprefix(f"{error.path}: "))


def _head_size(count: int) -> int:
    """Bytes of a CBOR head with this argument (RFC 8949, section 3)."""
    return next(size for size, limit in ((1, 24), (2, 2**8), (3, 2**16), (5, 2**32), (9, 2**64)) if count < limit)
