"""What msgspec found wrong with a payload, in the words of those who wrote it."""

from __future__ import annotations

import re
from typing import Final

_WHERE = re.compile(r"(?P<why>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)
_QUOTED = re.compile(r"`([^`]*)`")
_WORDS: Final = {
    "str": "text",
    "int": "an integer",
    "bool": "true or false",
    "array": "a list",
    "object": "a map of fields",
    "null": "nothing (null)",
    "bytes": "bytes",
    "float": "a float",
    "Link": "a link",
}
_NO_FLOATS = "; floats have no single signed form, use an integer in minor units"


def why_not(problem: str) -> tuple[str, str]:
    """The path (`payload.options[0]`) and the reason from the text of a `msgspec.ValidationError`.

    "Expected `str`, got `int` - at `$.title`" becomes ("payload.title", "expected text, got an integer").
    """
    found = _WHERE.fullmatch(problem)
    if found is None:
        return "payload", problem
    why = _QUOTED.sub(_in_words, found["why"])
    why = why[:1].lower() + why[1:]
    why = why.replace("object missing required field", "it lacks the field")
    if "got a float" in why:
        why += _NO_FLOATS
    if found["key"]:
        why = f"one of its keys: {why}"
    return "payload" + (found["path"] or ""), why


def _in_words(quoted: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(part, part) for part in quoted[1].split(" | "))
