"""Names that people give: of members, nodes and federations, and of roles. What may be one, and why not.

Whether a name is allowed decides whether a signed entry is valid, so it must be the same on every node: the rule names
its characters itself and asks no Unicode table, since those differ between versions of Python. Names are still shown
through `covm.federation.wire.display.shown`.
"""

from __future__ import annotations

import re
from typing import Final

from covm.federation.wire.limits import MAX_NAME, MAX_ROLE_NAME

_CONTROLS: Final = "\\u0000-\\u001f\\u007f-\\u009f"
_DIRECTIONS: Final = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069"
_INVISIBLE: Final = (
    "\\u00ad\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u2028\\u2029\\u2060-\\u2065\\u206a-\\u206f\\u3164"
    "\\ufeff\\uffa0\\ufff0-\\ufffb\\ufffe\\uffff\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff"
)
_SPACES: Final = "\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000"
_PRIVATE: Final = "\\ud800-\\uf8ff\\U000f0000-\\U0010ffff"

_FORBIDDEN: Final = (
    (re.compile(f"[{_CONTROLS}]"), "has a control character in it, which a terminal would obey"),
    (re.compile(f"[{_DIRECTIONS}]"), "has a mark in it that reverses the direction of text around it"),
    (re.compile(f"[{_INVISIBLE}]"), "has an invisible character in it"),
    (re.compile(f"[{_SPACES}]|  |^ | $"), "has a space in it that cannot be told from another, or at an end"),
    (re.compile(f"[{_PRIVATE}]"), "has a character in it that means nothing outside one computer"),
    (re.compile(r"[/\\]"), "has a slash in it, like a path; names become names of files"),
    (re.compile(r"^[-.~]"), "begins like an option or a hidden file; begin it with a letter or a digit"),
    (re.compile(r"^(12d3koo|bafy|did:)", re.IGNORECASE), "looks like an id; names must be told from ids"),
    (re.compile(r"^[\x20-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e\u200c\u200d]+$"), "has neither a letter nor a digit in it"),
)
_ANY: Final = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _FORBIDDEN), re.IGNORECASE)
"""All of them at once, because a cold start reads many names and nearly all are fine."""

_ROLE: Final = re.compile(rf"[a-z][a-z0-9_-]{{0,{MAX_ROLE_NAME - 1}}}")


def name_problem(name: str) -> str | None:
    """Why this cannot be the name of a member, a node or a federation, as the end of a sentence; None when it can.

    A name is one line of 1 to 64 characters of any script.
    """
    if not name:
        return "is empty; give a word that people know you by"
    if len(name) > MAX_NAME:
        return f"has {len(name):,} characters, at most {MAX_NAME} are allowed; choose a shorter one"
    if _ANY.search(name) is None:
        return None
    return next((why for pattern, why in _FORBIDDEN if pattern.search(name)), None)


def check_name(name: str, whose: str = "the name") -> str:
    """Returns the name. Raises `ValueError` with `whose` name it is and what is wrong with it."""
    if (problem := name_problem(name)) is not None:
        raise ValueError(f"{whose} {problem}")
    return name


def role_name_problem(name: str) -> str | None:
    """Why this cannot be the name of a role; None when it can."""
    if _ROLE.fullmatch(name):
        return None
    return (
        f"is not a role's name: a small letter followed by small letters, digits, - or _, {MAX_ROLE_NAME} characters "
        "at most, as in member"
    )
