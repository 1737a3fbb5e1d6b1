"""Saying what came of a command: sentences and tables for people, one JSON object for programs."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from covm.cli.exits import OF_KIND, Exit
from covm.control.schema import Failure, Problem, Versioned


def safe(text: object, *, limit: int | None = None) -> str:
    """Text of unknown origin, fit for a terminal; cut to `limit` characters, the last an ellipsis."""
    from covm.federation.wire.display import shown

    return shown(str(text), limit=limit)


def say(line: str) -> None:
    """One line for people, now. What came from others in it must have been through `safe`."""
    print(line, flush=True)


def note(line: str) -> None:
    """A remark beside the answer, on standard error."""
    print(line, file=sys.stderr, flush=True)


def say_json(answer: Versioned) -> None:
    """The answer for programs: one object on one line. Control characters are escaped by JSON itself."""
    print(_ascii(msgspec.json.encode(answer)), flush=True)


def fail(problem: Problem, *, as_json: bool) -> Exit:
    """Says what went wrong where the caller looks for it, and gives the exit code for it."""
    if as_json:
        say_json(Failure(error=problem))
    else:
        from covm.federation.wire.display import shown

        # Only our own lists of problems have lines of their own; a peer's text must not begin one.
        note("covm: " + shown(problem.message, lines=problem.code in ("config_error", "bad_rules")))
    return OF_KIND.get(problem.kind, Exit.FAILED)


def as_text(payload: Any) -> str:
    """A payload on one line: text as it is, anything else as JSON."""
    return safe(payload if isinstance(payload, str) else msgspec.json.encode(payload).decode())


def _ascii(encoded: bytes) -> str:
    """JSON whose strings are ASCII: no direction mark or invisible character reaches a terminal through it."""
    text = encoded.decode()
    if text.isascii():
        return text
    import json

    return json.dumps(json.loads(text), ensure_ascii=True, separators=(",", ":"))
