"""MESSAGE as it is typed: JSON or text, `-` for standard input, `@file` for a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from covm.cli.output import note
from covm.control.failures import Invalid, NotFound
from covm.control.schema import REQUEST_LIMIT_BYTES


def read_message(argument: str, *, as_text: bool, may_ask: bool) -> Any:
    """The payload that was meant.

    What is JSON is taken as JSON, anything else as text; what begins like an object or a list and is not JSON is more
    likely a slip than a text, and is refused (`Invalid`) unless `as_text`. Nothing beyond a request's limit is read.
    """
    text = _text(argument, may_ask=may_ask)
    if as_text:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if text.lstrip()[:1] in ("{", "["):
            raise Invalid(
                f"the message begins like JSON but is not: {error}; mend it, or say --text to send it as text",
                code="not_json",
            ) from error
        return text


def _text(argument: str, *, may_ask: bool) -> str:
    if argument == "-":
        if sys.stdin.isatty():
            if not may_ask:
                raise Invalid("the message was to come from standard input, and nothing is piped in (--no-input)")
            note("type the message, then end it with Ctrl-D on a line of its own:")
        return _decoded(_bounded(sys.stdin.buffer, "standard input"), "standard input")
    if argument.startswith("@"):
        return _file(Path(argument[1:]).expanduser())
    return argument


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decoded(_bounded(file, str(path)), str(path))
    except FileNotFoundError as error:
        message = f"there is no file {path}; to send a text that begins with @, pipe it in: echo @... | covm ... -"
        raise NotFound(message, code="no_file") from error
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error


def _bounded(source: BinaryIO, name: str) -> bytes:
    content = source.read(REQUEST_LIMIT_BYTES + 1)
    if len(content) > REQUEST_LIMIT_BYTES:
        raise Invalid(
            f"{name} has more than {REQUEST_LIMIT_BYTES:,} bytes; a direct message may have 1 MiB, a published one "
            "64 KiB",
            code="message_too_large",
        )
    return content


def _decoded(content: bytes, name: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}", code="not_text") from error
    return text.removesuffix("\n")
