"""Frames of the sync stream `/covm/sync/1.0.0`: who opened it asks what the other holds that it lacks.

A frame is a canonical DAG-CBOR map with its kind under `t`:

    hello      both      v [major, minor] · roots: of the acceptor's types that the opener may read, [type, root]
    news       acceptor  roots: of types of which something has come since
    request    opener    number: counts the questions of this stream · type · probes: where its frontier may differ
                         (see `sync.descent`) · wants: logs, [log, have: [[seq, id], ...]]; one of the two
    response   acceptor  number · found: answers to probes · records: [envelope, body or null], each behind what it
                         follows · strange: logs of which it holds none of what the opener has · more: whether records
                         were left out
    none       acceptor  number · reason

Unknown keys are ignored. A frame of an unknown kind decodes to `Unknown`, to be ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from covm import _native
from covm.federation.wire.limits import (
    DIGEST_SIZE,
    MAX_DIRECT_PAYLOAD,
    MAX_REASON,
    MAX_TYPE_NAME,
    MAX_TYPES,
)
from covm.federation.wire.system import Count, Version

MAX_WANTS: Final = 256
"""Logs that are asked for at once."""

MAX_HAVE: Final = 128
"""Records that a question names as held, of one log: its tips, and some behind them."""

MAX_RECORDS: Final = 2048
"""Records of one answer."""

MAX_ENVELOPE: Final = 64 * 1024
"""Bytes of a record's envelope: with as many parents as there can be it has 12 KiB."""

Root = Annotated[bytes, Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
_TypeName = Annotated[str, Meta(max_length=MAX_TYPE_NAME)]
Roots = Annotated[list[tuple[_TypeName, Root]], Meta(max_length=MAX_TYPES)]
Have = tuple[Count, _native.Link]


class SyncHello(Struct, frozen=True):
    """The first frame of each side."""

    v: Version
    roots: Roots = []


class SyncNews(Struct, frozen=True):
    """Something of these types has come."""

    roots: Roots


class Wanted(Struct, frozen=True, array_like=True):
    """A log of which the opener lacks something."""

    log: _native.Link
    have: Annotated[list[Have], Meta(max_length=MAX_HAVE)]


class SyncRequest(Struct, frozen=True, kw_only=True):
    """A question about one type."""

    number: Count
    type: _TypeName
    probes: list[Any] = []
    wants: Annotated[list[Wanted], Meta(max_length=MAX_WANTS)] = []


class Carried(Struct, frozen=True, array_like=True):
    """A record, and its body where that is held and it has one."""

    envelope: Annotated[bytes, Meta(max_length=MAX_ENVELOPE)]
    body: Annotated[bytes, Meta(max_length=MAX_DIRECT_PAYLOAD)] | None


class SyncResponse(Struct, frozen=True, kw_only=True):
    """What was asked for under this number."""

    number: Count
    found: list[Any] = []
    records: Annotated[list[Carried], Meta(max_length=MAX_RECORDS)] = []
    strange: Annotated[list[_native.Link], Meta(max_length=MAX_WANTS)] = []
    more: bool = False


class NoSync(Struct, frozen=True):
    """The question is not answered."""

    number: Count
    reason: Annotated[str, Meta(max_length=MAX_REASON)]
