"""`covm federation stats` and `types`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import size, table
from covm.control import schema
from covm.control.client import ControlClient


def stats(*, common: Common = DEFAULT) -> None:
    """Show the node's counters: messages and bytes by type and direction, peers, queues, drops, uptime, versions."""
    counters = ControlClient(common.folder).stats()
    if common.json:
        say_json(schema.Stats(stats=counters))
        return
    for label, value in _flat(counters):
        say(f"{safe(label):<44}{safe(value)}")


def types(*, common: Common = DEFAULT) -> None:
    """List the message types that are registered at the node. With --json also their JSON Schemas."""
    answer = ControlClient(common.folder).types()
    if common.json:
        say_json(answer)
        return
    rows = [
        (
            each.name,
            each.version,
            "-" if each.size_limit_bytes is None else size(each.size_limit_bytes),
            ", ".join(required_fields(each.schema)),
        )
        for each in answer.types
    ]
    table(("TYPE", "VERSION", "SIZE LIMIT", "REQUIRED FIELDS"), rows, empty="no type is registered")
    say(f"held for `covm federation messages`: {safe(', '.join(answer.received))}")


def required_fields(json_schema: Mapping[str, Any]) -> list[str]:
    """The fields that a message of the type must have; msgspec's schemas keep the form itself under `$defs`."""
    name = json_schema.get("$ref", "").removeprefix("#/$defs/")
    form = json_schema.get("$defs", {}).get(name, json_schema)
    return list(form.get("required", []))


def _flat(counters: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested counters as one line each, the path joined by dots."""
    for name, value in counters.items():
        label = f"{above}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{label}.")
        else:
            yield label, _value(value)


def _value(value: object) -> str:
    match value:
        case str():
            return value
        case float():
            return f"{value:.3f}"
        case _:
            return msgspec.json.encode(value).decode()
