"""MESSAGE as it is typed: JSON or text, `-` for standard input, `@file` for a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
from cyclopts import Parameter

from covm.cli.output import note, safe
from covm.control.failures import Invalid, NotFound
from covm.control.schema import REQUEST_LIMIT_BYTES

MessageArgument = Annotated[str, Parameter(allow_leading_hyphen=True)]
AsText = Annotated[bool, Parameter(negative=())]

_LONGEST_KEY_SHOWN = 64
"""Enough to find it by; the rest of a long key would push the advice off the line."""


def read_message(argument: str, *, as_text: bool, may_ask: bool) -> Any:
    """The payload that was meant.

    What is JSON is taken as JSON, anything else as text; what begins like an object or a list and is not JSON, or has
    a key twice, is more likely a slip than a text, and is refused (`Invalid`) unless `as_text`. So is standard input
    or a file with nothing in it. Nothing beyond a request's limit is read.
    """
    text = _text(argument, may_ask=may_ask)
    if argument and not text:
        source = "standard input" if argument == "-" else argument[1:]
        raise Invalid(
            f"there is nothing in {source}; to send an empty text, give '' as the message", code="empty_message"
        )
    if as_text:
        return text
    try:
        return decoded_json(text, "the message")
    except msgspec.DecodeError as error:
        if text.lstrip()[:1] in ("{", "["):
            raise Invalid(
                f"the message begins like JSON but is not: {error}; mend it, or say --text to send it as text",
                code="not_json",
            ) from error
        return text


def read_file(path: Path, *, otherwise: str) -> str:
    """A file's text. Raises `NotFound`, with what to do `otherwise`, and `Invalid`."""
    try:
        with path.open("rb") as file:
            return _decoded(_bounded(file, str(path)), str(path))
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}; {otherwise}", code="no_file") from error
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error


def decoded_json(text: str, name: str) -> Any:
    """What a JSON text says; errors call it `name`.

    Raises `msgspec.DecodeError` for what is not JSON, `Invalid` for a key twice in one object and for endless nesting.
    """
    try:
        value = msgspec.json.decode(text)
        if isinstance(value, dict | list):
            _no_key_twice(text, name)
    except RecursionError as error:
        raise Invalid(f"{name} is JSON nested too deeply; make it flatter", code="too_deep") from error
    return value


def _no_key_twice(text: str, name: str) -> None:
    import json

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Invalid(
                    f'{name} has the key "{safe(key, limit=_LONGEST_KEY_SHOWN)}" twice in one JSON object, and only '
                    "one of its values could be sent; remove the other",
                    code="duplicate_key",
                )
            seen.add(key)

    # Numbers stay text: they are read already, and one of a million digits would be refused here.
    json.loads(text, object_pairs_hook=look, parse_int=str, parse_float=str)


def _text(argument: str, *, may_ask: bool) -> str:
    if argument == "-":
        if sys.stdin.isatty():
            if not may_ask:
                raise Invalid("the message was to come from standard input, and nothing is piped in (--no-input)")
            note("type the message, then end it with Ctrl-D on a line of its own:")
        return _decoded(_bounded(sys.stdin.buffer, "standard input"), "standard input")
    if argument.startswith("@"):
        advice = "to send a text that begins with @, pipe it in: echo @... | covm ... -"
        return read_file(Path(argument[1:]).expanduser(), otherwise=advice)
    return argument


def _bounded(source: BinaryIO, name: str) -> bytes:
    content = source.read(REQUEST_LIMIT_BYTES + 1)
    if len(content) > REQUEST_LIMIT_BYTES:
        raise Invalid(
            f"{name} has more than {REQUEST_LIMIT_BYTES:,} bytes; a message may have 1 MiB, and `send-file` takes more",
            code="message_too_large",
        )
    return content


def _decoded(content: bytes, name: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}", code="not_text") from error
    return text.removesuffix("\n")
