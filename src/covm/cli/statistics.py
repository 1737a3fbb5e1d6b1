"""`covm federation stats` and `types`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import GAP, duration, size, table
from covm.control import schema
from covm.control.client import ControlClient

INDENT = "  "


def stats(*, common: Common = DEFAULT) -> None:
    """Show the node's counters: messages and bytes by type and direction, peers, queues, drops, uptime, versions."""
    counters = ControlClient(common.folder).stats()
    if common.json:
        say_json(schema.Stats(stats=counters))
        return
    for line in counters_told(counters):
        say(line)


def counters_told(counters: Mapping[str, Any]) -> Iterator[str]:
    """The counters in groups: each a heading with its values indented below it, in columns as wide as they need.

    Groups and values are shown as the node gives them; only messages, which have two directions, have a form here.
    """
    rows: list[tuple[str, ...]] = []
    for name, value in counters.items():
        if name == "uptime_s":
            rows.append(("uptime", duration(value * 1000)))
        elif name == "messages":
            rows.append((name, "in", "out"))
            rows += _traffic(value)
        elif isinstance(value, dict):
            rows.append((_words(name),) if value else (_words(name), "nothing"))
            rows += ((INDENT + label, told) for label, told in _flat(value))
        else:
            rows.append((_words(name), _value(name, value)))
    shown = [[safe(cell) for cell in row] for row in rows]
    widths = [max((len(row[column]) for row in shown if column < len(row)), default=0) for column in range(3)]
    for row in shown:
        yield (" " * GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()


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
            "yes" if each.durable else "no",
            ", ".join(required_fields(each.schema)),
        )
        for each in answer.types
    ]
    table(("TYPE", "VERSION", "SIZE LIMIT", "DURABLE", "REQUIRED FIELDS"), rows, empty="no type is registered")
    say(f"held for `covm federation messages`: {safe(', '.join(answer.received))}")


def required_fields(json_schema: Mapping[str, Any]) -> list[str]:
    """The fields that a message of the type must have; msgspec's schemas keep the form itself under `$defs`."""
    name = json_schema.get("$ref", "").removeprefix("#/$defs/")
    form = json_schema.get("$defs", {}).get(name, json_schema)
    return list(form.get("required", []))


def _traffic(ways: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each way's sum, and below it each type's share."""
    for way, directions in ways.items():
        came, went = directions["in"], directions["out"]
        yield INDENT + way, _messages(came), _messages(went)
        for name in sorted(came["by_type"] | went["by_type"]):
            yield INDENT * 2 + name, _messages(came["by_type"].get(name)), _messages(went["by_type"].get(name))


def _messages(traffic: Mapping[str, int] | None) -> str:
    return f"{traffic['messages']} ({size(traffic['bytes'])})" if traffic and traffic["messages"] else "0"


def _flat(counters: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested counters as one line each."""
    for name, value in counters.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name} ")
        else:
            yield _words(above + name), _value(name, value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case int() if name.endswith("bytes"):
            return size(value)
        case float():
            return f"{value:.3f}"
        case _:
            return msgspec.json.encode(value).decode()
