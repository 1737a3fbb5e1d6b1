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


ITEMS: Final = {0: Kind.CHARTER, 1: Kind.IDENTITY, 2: Kind.CREDENTIAL, 3: Kind.RECORD}
"""What the envelopes in `covm_membership` are, by the column `kind`."""

CHECKSUM: Final = "checksum"
"""The CRC-32 of a body, beside it."""


def wrong_rows(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[int, str]:
    """The rows that do not verify: index in `rows`, and why."""
    if (name := ENVELOPES.get(table)) in columns:
        return _wrong_envelopes([row[columns.index(name)] for row in rows])
    if table == "covm_membership" and {"kind", "envelope"} <= set(columns):
        at = columns.index("kind"), columns.index("envelope")
        return _wrong_items([(row[at[0]], bytes(row[at[1]])) for row in rows])
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


def _wrong_items(items: Sequence[tuple[int, bytes]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for kind, signed_as in ITEMS.items():
        those = [index for index, (each, _) in enumerate(items) if each == kind]
        opened = _native.open_envelopes(signed_as.value, [items[index][1] for index in those])
        found.update(
            (index, f"its envelope does not open: {each}")
            for index, each in zip(those, opened, strict=True)
            if isinstance(each, str)
        )
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
