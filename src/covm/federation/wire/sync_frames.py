"""Frames of the sync stream `/covm/sync/1.0.0`: who opened it asks what the other holds that it lacks.

A frame is a canonical DAG-CBOR map with its kind under `t`:

    hello      both      v [major, minor] · roots: of the acceptor's types that the opener may read, [type, root]
                         · owed: those of them of which its handlers are still to be given bodies
    news       acceptor  roots: of further ones, of those of which something has come since, or of all again
                         · owed: as in hello, all of them again
    request    opener    number: counts the questions of this stream · type · probes: where its frontier may differ
                         (see `sync.descent`) · wants: logs, [log, have: ids, deep]; one of the two
    response   acceptor  number · found: answers to probes · records: bytes, envelopes and bodies, each record behind
                         what it follows · bare: bytes, a bit for each record, the lowest of the first byte first: set
                         where no body follows the envelope, as one above 64 KiB does not · strange: logs of which it
                         holds none of what the opener has · more: whether records were left out
    none       acceptor  number · reason

Nothing stands between records: an envelope ends with its signature, and its header says how many bytes the body has.
What is empty or false is left out. Unknown keys are ignored. A frame of an unknown kind decodes to `Unknown`, to be
ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from covm import _native
from covm.federation.wire.frames import Unknown
from covm.federation.wire.limits import (
    DIGEST_SIZE,
    MAX_DIRECT_PAYLOAD,
    MAX_FRAME,
    MAX_INTEGER,
    MAX_TYPE_NAME,
    MAX_TYPES,
    MAX_UNKNOWN_KIND,
)
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.system import Count, Reason, Version

MAX_WANTS: Final = 256
"""Logs that are asked for at once."""

MAX_HAVE: Final = 128
"""Records that a question names as held, of one log: its tips, and some behind them."""

MAX_HAVES: Final = 4096
"""Records that one question names as held, of all its logs together."""

MAX_RECORDS: Final = 2048
"""Records of one answer."""

MAX_ENVELOPE: Final = 64 * 1024
"""Bytes of a record's envelope: with as many parents as there can be it has 12 KiB."""

MAX_CARRIED_BODY: Final = 64 * 1024
"""Bytes of a body that travels beside its header. A larger one is left out, and fetched in chunks."""

MAX_TIPS: Final = 16
"""Tips of one log: whoever forks a log more often than this is not followed any further."""

FANOUT: Final = 16
"""Children of a fork of the trie."""

DEEPEST: Final = 2 * DIGEST_SIZE
"""Levels that a trie over hashes of this size can have."""


MAX_PROBES: Final = 256
"""Paths of one question."""

MAX_TOLD: Final = 8
"""Logs of a subtree that are told at once: their tips take no more than the digests of another level."""

SHORT: Final = 16
"""Bytes of a digest on the wire."""

_Path = Annotated[bytes, Meta(max_length=DEEPEST)]
_Bitmap = Annotated[int, Meta(ge=0, lt=1 << FANOUT)]
_Digests = Annotated[bytes, Meta(max_length=FANOUT * SHORT)]


Root = Annotated[bytes, Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
_TypeName = Annotated[str, Meta(max_length=MAX_TYPE_NAME)]
Roots = Annotated[list[tuple[_TypeName, Root]], Meta(max_length=MAX_TYPES)]
Owed = Annotated[list[_TypeName], Meta(max_length=MAX_TYPES)]


class SyncHello(Struct, frozen=True, omit_defaults=True):
    """The first frame of each side."""

    v: Version
    roots: Roots = []
    owed: Owed = []


class SyncNews(Struct, frozen=True):
    """Something of these types has come."""

    roots: Roots
    owed: Owed = []


class Tip(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The end of a branch of a log: a record behind which none is held, while all before it are."""

    seq: Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
    id: _native.Link


class Probe(Struct, frozen=True, array_like=True):
    """What the asker has below a path, a nibble a byte."""

    path: _Path
    bitmap: _Bitmap
    digests: _Digests


class Inner(Struct, frozen=True, array_like=True):
    """A child that differs and has many logs: what is below it."""

    child: Annotated[int, Meta(ge=0, lt=FANOUT)]
    bitmap: _Bitmap
    digests: _Digests


class Told(Struct, frozen=True, array_like=True):
    """A log and its tips."""

    log: _native.Link
    tips: Annotated[tuple[Tip, ...], Meta(min_length=1, max_length=MAX_TIPS)]


class Found(Struct, frozen=True, array_like=True):
    """What the answerer has below a path that the asker has not."""

    path: _Path
    inner: Annotated[list[Inner], Meta(max_length=FANOUT)]
    told: Annotated[list[Told], Meta(max_length=FANOUT * MAX_TOLD)]


class Wanted(Struct, frozen=True, array_like=True):
    """A log of which the opener lacks something."""

    log: _native.Link
    have: Annotated[list[_native.Link], Meta(max_length=MAX_HAVE)]
    """Records of it that the opener holds."""
    deep: bool
    """Whether these are all that the opener names: if none of them is known, it gets the log from its beginning."""


class SyncRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question about one type."""

    number: Count
    type: _TypeName
    probes: Annotated[list[Probe], Meta(max_length=MAX_PROBES)] = []
    wants: Annotated[list[Wanted], Meta(max_length=MAX_WANTS)] = []


class Carried(Struct, frozen=True, array_like=True, gc=False):
    """A record, and its body where that is held, it has one, and that is not too large to be carried."""

    envelope: Annotated[bytes, Meta(max_length=MAX_ENVELOPE)]
    body: Annotated[bytes, Meta(max_length=MAX_DIRECT_PAYLOAD)] | None


class SyncResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for under this number."""

    number: Count
    found: Annotated[list[Found], Meta(max_length=MAX_PROBES)] = []
    records: Annotated[list[Carried], Meta(max_length=MAX_RECORDS)] = []
    strange: Annotated[list[_native.Link], Meta(max_length=MAX_WANTS)] = []
    more: bool = False


class NoSync(Struct, frozen=True):
    """The question is not answered."""

    number: Count
    reason: Reason


KnownSyncFrame = SyncHello | SyncNews | SyncRequest | SyncResponse | NoSync
SyncFrame = KnownSyncFrame | Unknown

_KINDS: Final[dict[type, str]] = {
    SyncHello: "hello",
    SyncNews: "news",
    SyncRequest: "request",
    SyncResponse: "response",
    NoSync: "none",
}
_STRUCTS: Final[dict[str, type]] = {kind: struct for struct, kind in _KINDS.items()}
_PLAIN: Final = (bytes, _native.Link)


def encode_sync_frame(frame: KnownSyncFrame) -> bytes:
    """The frame's bytes. What is too large to be sent is for the caller not to put in."""
    fields: dict[str, Any] = msgspec.to_builtins(frame, builtin_types=_PLAIN)
    if (records := fields.get("records")) is not None:
        fields["records"] = b"".join([part for record in records for part in record if part is not None])
        if bare := _bare(records):
            fields["bare"] = bare
    return _native.encode({"t": _KINDS[type(frame)], **fields})


def decode_sync_frame(data: bytes) -> SyncFrame:
    """The frame in these bytes. Raises `Malformed`."""
    if len(data) > MAX_FRAME:
        raise Malformed(f"a frame of {len(data):,} bytes exceeds the limit of {MAX_FRAME:,}")
    try:
        fields = _native.decode(data)
    except _native.DecodeError as error:
        raise Malformed(str(error)) from None
    kind = fields.get("t") if type(fields) is dict else None
    if type(kind) is not str:
        raise Malformed("the frame does not say its kind")
    if (struct := _STRUCTS.get(kind)) is None:
        return Unknown(kind[:MAX_UNKNOWN_KIND])
    if struct is SyncResponse and "records" in fields:
        fields["records"] = _apart(fields["records"], fields.get("bare", b""))
    try:
        frame: KnownSyncFrame = msgspec.convert(fields, struct, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise Malformed(f"a {kind} frame does not fit: {error}") from None
    return frame


def _bare(records: Sequence[Sequence[bytes | None]]) -> bytes:
    """A bit for each record without its body; nothing behind the last of them."""
    bits = sum(1 << place for place, (_, body) in enumerate(records) if body is None)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _apart(records: Any, bare: Any) -> list[tuple[bytes, bytes | None]]:
    if type(records) is not bytes or type(bare) is not bytes:
        raise Malformed("the records of a frame are bytes, and so are their bits")
    try:
        envelopes, bodies = _native.split_records(records, bare, MAX_RECORDS)
    except ValueError as error:
        raise Malformed(f"the records of a frame do not come apart: {error}") from None
    return list(zip(envelopes, bodies, strict=True))
