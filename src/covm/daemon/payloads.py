"""Payloads as JSON can carry them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from covm._native import Link


def plain(value: Any) -> Any:
    """A payload as JSON can carry it: Structs as objects, bytes and links as DAG-JSON spells them."""
    match value:
        case bytes():
            return {"/": {"bytes": base64.b64encode(value).rstrip(b"=").decode()}}
        case Link():
            return {"/": str(value)}
        case msgspec.Struct():
            return {name: plain(field) for name, field in msgspec.structs.asdict(value).items()}
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value
