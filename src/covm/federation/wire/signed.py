"""Signed bodies as values: read strictly, opened from their envelopes, sealed into them.

A body is a canonical DAG-CBOR map with its version under `v`. Its id is its CID, and it says who signs it, so that a
copy signed by somebody else is refused before it can stand in the way of the true one. Keys that this version does not
know are ignored when a body is read; whoever passes it on passes on its envelope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from covm import _native
from covm.federation.wire.display import shown
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_PEER_ID, MAX_REASON
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.reasons import why_not

B = TypeVar("B")

_OUT: Final = (bytes, _native.Link)
_IN: Final = (bytes,)

PeerId = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PEER_ID)]


class Signed(msgspec.Struct, Generic[B], frozen=True, gc=False):
    """A body whose signature holds. Rules take these and never look at a signature again.

    A federation holds tens of thousands of signed things. They hold no cycles, so the garbage collector need not know.
    """

    id: _native.Link
    """The CID of the body."""
    author: str
    """Peer id of the key that signed."""
    body: B
    envelope: bytes
    """What to store and to pass on."""


def write_map(body: msgspec.Struct) -> bytes:
    """The bytes of a body that is a Struct. Raises `ValueError` with the field that has no signed form."""
    return write_fields(body)[1]


def write_fields(body: msgspec.Struct) -> tuple[Any, bytes]:
    """What `fitting` takes, and the bytes, of a body that is a Struct. Raises as `write_map`."""
    try:
        fields = msgspec.to_builtins(body, builtin_types=_OUT)
        return fields, _native.encode(fields)
    except (TypeError, _native.EncodeError) as error:
        raise ValueError(f"{type(body).__name__} cannot be signed: {error}") from None


def read_map(data: bytes, kind: Any, what: str, version: int = 1) -> Any:
    """The Struct (or one of a union of Structs) in these bytes. Raises `Malformed`, naming it as `what`."""
    try:
        fields = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(str(error)) from None
    return fitting(fields, kind, what, version)


def fitting(fields: Any, kind: Any, what: str, version: int = 1) -> Any:
    """The Struct of what was decoded. Raises `Malformed`, naming it as `what`."""
    if type(fields) is not dict:
        raise Malformed(f"{what} is not a map")
    if fields.get("v") != version:
        raise Malformed(f"{what} has version {fields.get('v')!r:.20}; this node reads version {version}")
    try:
        return msgspec.convert(fields, kind, builtin_types=_IN)
    except msgspec.ValidationError as error:
        path, why = why_not(str(error))
        where = path.removeprefix("payload").lstrip(".")
        told = f"{what} does not fit{f' at {where}' if where else ''}: {why}"
        raise Malformed(shown(told, limit=MAX_REASON)) from None


def seal(key: _native.Keypair, kind: Kind, data: bytes) -> bytes:
    """The envelope around a body's bytes. Raises `ValueError` for more than anyone opens."""
    [envelope] = key.seal(kind, [data])
    return envelope


def open_all(
    kind: Kind, envelopes: Sequence[bytes], decode: Callable[[bytes], B], author: Callable[[B], str | None]
) -> list[Signed[B] | Malformed]:
    """What each envelope holds, in order; `Malformed` in the place of one that does not verify or does not fit.

    `author` reads from a body who must have signed it; None where the body leaves that open.
    """
    return [
        Malformed(f"the envelope was refused: {opened}")
        if isinstance(opened, str)
        else _opened(*opened, envelope, decode, author)
        for opened, envelope in zip(_native.open_envelopes(kind, envelopes), envelopes, strict=True)
    ]


def _opened(
    signer: str, data: bytes, envelope: bytes, decode: Callable[[bytes], B], author: Callable[[B], str | None]
) -> Signed[B] | Malformed:
    try:
        body = decode(data)
    except Malformed as error:
        return error
    if (named := author(body)) is not None and named != signer:
        return Malformed("the author that the body names is not the one who signed it")
    return Signed(_native.cid(data), signer, body, envelope)


def is_peer_id(text: str) -> bool:
    """Whether this is a peer id, spelt as the core spells it."""
    try:
        return _native.parse_peer_id(text) == text
    except ValueError:
        return False


def in_order(items: Sequence[Any], key: Callable[[Any], Any]) -> bool:
    """Whether a list is sorted by `key` and holds nothing twice, so that one set of things has one signed form."""
    if len(items) < 2:
        return True
    keys = [key(item) for item in items]
    return all(before < after for before, after in pairwise(keys))
