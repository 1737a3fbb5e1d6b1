"""Names of message types: dotted, lower case, as in `governance.proposal`."""

from __future__ import annotations

import re
from functools import lru_cache

from covm.federation.errors import InvalidMessage
from covm.federation.wire.limits import MAX_TYPE_NAME

SYSTEM_PREFIX = "system."
"""Names under it are the federation's own."""

_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")

_CACHED_NAMES = 1024
"""Answers kept by `is_type_name`, at most 128 KiB of names: a node meets few types, each of them very often."""


def check_type_name(text: str) -> str:
    """Returns the name as it travels: `Governance.Proposal` becomes `governance.proposal`.

    Raises `InvalidMessage` when it is not a type name: two or more parts joined by dots, each a letter followed by
    letters, digits or underscores, 128 characters at most.
    """
    if not isinstance(text, str):
        raise TypeError(f"a message type's name is text, as in 'governance.proposal', not {type(text).__name__}")
    if len(text) > MAX_TYPE_NAME:
        why = f"the type name has {len(text)} characters, at most {MAX_TYPE_NAME} are allowed; choose a shorter one"
        raise InvalidMessage(text[:MAX_TYPE_NAME] + "…", "type", why)
    name = text.lower() if text.isascii() else text
    if not is_type_name(name):
        why = (
            "a type name has two or more parts joined by dots, each a letter followed by letters, digits or "
            "underscores, as in governance.proposal"
        )
        raise InvalidMessage(repr(text), "type", why)
    return name


def is_type_name(name: str) -> bool:
    """Whether this is a type name exactly as it travels (lower case)."""
    return len(name) <= MAX_TYPE_NAME and _matches(name)


@lru_cache(maxsize=_CACHED_NAMES)
def _matches(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def is_system_type(name: str) -> bool:
    """Whether the name belongs to the federation itself, not to an application."""
    return name.startswith(SYSTEM_PREFIX)
