"""Whether a row holds what it should: envelopes open with a valid signature, bodies decode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from covm import _native
from covm.federation.wire.kinds import Kind
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import decode_body

ENVELOPES: Final = {"covm_outbox": "envelope", "covm_lines_in": "last_envelope"}
"""Columns with signed envelopes; NULL where there is none any more."""

BODIES: Final = {"covm_inbox": "body", "covm_staged": "body"}
"""Columns with bodies whose signature was checked before they were stored."""


CHECKSUM: Final = "checksum"
"""The CRC-32 of a body, beside it."""


def wrong_rows(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[int, str]:
    """The rows that do not verify: index in `rows`, and why."""
    if (name := ENVELOPES.get(table)) in columns:
        return _wrong_envelopes([row[columns.index(name)] for row in rows])
    if (name := BODIES.get(table)) in columns:
        wrong = _wrong_bodies([row[columns.index(name)] for row in rows])
        if CHECKSUM in columns:
            pairs = [(row[columns.index(name)], row[columns.index(CHECKSUM)]) for row in rows]
            wrong = {**_changed(pairs), **wrong}
        return wrong
    return {}


def _wrong_envelopes(values: Sequence[bytes | None]) -> dict[int, str]:
    held = [(index, bytes(value)) for index, value in enumerate(values) if value is not None]
    opened = _native.open_envelopes(Kind.MESSAGE.value, [value for _, value in held])
    found: dict[int, str] = {}
    for (index, _), each in zip(held, opened, strict=True):
        if isinstance(each, str):
            found[index] = f"its envelope does not open: {each}"
        elif (why := _not_a_body(each[1])) is not None:
            found[index] = why
    return found


def _wrong_bodies(values: Sequence[bytes]) -> dict[int, str]:
    checked = enumerate(map(_not_a_body, map(bytes, values)))
    return {index: why for index, why in checked if why is not None}


def _changed(pairs: Sequence[tuple[bytes, int]]) -> dict[int, str]:
    changed = (index for index, (body, checksum) in enumerate(pairs) if crc32(body) != checksum)
    return dict.fromkeys(changed, "its message is not any more what was stored")


def _not_a_body(data: bytes) -> str | None:
    try:
        decode_body(data)
    except Malformed as error:
        return f"its message cannot be read: {error}"
    return None
