"""Frames of the blob stream `/covm/blob/1.0.0`: chunks of content, asked for by who opened the stream.

A frame is a canonical DAG-CBOR map with its kind under `t`:

    hello   both      v [major, minor]
    want    opener    number: counts the questions of this stream · root link: which content · place [level, position]:
                      which chunk of its tree (see `blobs.chunks`)
    chunk   acceptor  number · data: bytes, to be verified by the link that leads to it
    none    acceptor  number · final: whether asking again is of no use · reason

Unknown keys are ignored. A frame of an unknown kind decodes to `Unknown`, to be ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from covm import _native
from covm.federation.wire.frames import Unknown
from covm.federation.wire.limits import MAX_FRAME, MAX_UNKNOWN_KIND
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.system import Count, Reason, Version

__all__ = ["BlobFrame", "BlobHello", "Chunk", "Malformed", "NoChunk", "Want", "decode_blob_frame", "encode_blob_frame"]

MAX_LEVEL: Final = 8
"""Levels of a tree: six reach beyond the largest size."""

MAX_CHUNK: Final = 512 * 1024
"""Bytes of a chunk: a leaf has 256 KiB, and a later version may choose twice as much."""


class BlobHello(Struct, frozen=True):
    """The first frame of each side."""

    v: Version


class Want(Struct, frozen=True):
    """The opener asks for one chunk."""

    number: Count
    root: _native.Link
    place: tuple[Annotated[int, Meta(ge=0, le=MAX_LEVEL)], Count]


class Chunk(Struct, frozen=True):
    """The chunk that was asked for under this number."""

    number: Count
    data: Annotated[bytes, Meta(max_length=MAX_CHUNK)]


class NoChunk(Struct, frozen=True):
    """The acceptor does not give the chunk that was asked for under this number."""

    number: Count
    final: bool
    """Whether asking again is of no use: the content is no longer what it was."""
    reason: Reason = ""


KnownBlobFrame = BlobHello | Want | Chunk | NoChunk
BlobFrame = KnownBlobFrame | Unknown

_KINDS: Final[dict[type, str]] = {BlobHello: "hello", Want: "want", Chunk: "chunk", NoChunk: "none"}
_STRUCTS: Final[dict[str, type]] = {kind: struct for struct, kind in _KINDS.items()}
_PLAIN: Final = (bytes, _native.Link)


def encode_blob_frame(frame: KnownBlobFrame) -> bytes:
    """The frame's bytes. Raises `ValueError` for what `decode_blob_frame` would refuse."""
    fields: dict[str, Any] = msgspec.to_builtins(frame, builtin_types=_PLAIN)
    if not isinstance(frame, Chunk):
        msgspec.convert(fields, type(frame), builtin_types=(bytes,))
    elif len(frame.data) > MAX_CHUNK:
        raise ValueError(f"a chunk of {len(frame.data):,} bytes exceeds the limit of {MAX_CHUNK:,}")
    return _native.encode({"t": _KINDS[type(frame)], **fields})


def decode_blob_frame(data: bytes) -> BlobFrame:
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
    try:
        frame: KnownBlobFrame = msgspec.convert(fields, struct, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise Malformed(f"a {kind} frame does not fit: {error}") from None
    return frame
