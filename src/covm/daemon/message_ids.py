"""Which message or file a person means: its id, or a unique beginning of it."""

from __future__ import annotations

from collections.abc import Iterable

from covm.control.failures import Invalid, NotFound

SHOWN_MATCHES = 8
"""Ids that an ambiguity names: enough to choose from, no flood."""


def find_id(text: str, ids: Iterable[str], what: str, where: str) -> str:
    """The one id that `text` means, among `ids`; `covm federation <where>` lists every `what`.

    Raises `NotFound` when there is none, `Invalid` naming them when there are several.
    """
    wanted = text.strip().lower()
    matches = sorted(each for each in ids if wanted and each.startswith(wanted))
    if wanted in matches or len(matches) == 1:
        return wanted if wanted in matches else matches[0]
    if not matches:
        raise NotFound(
            f"no {what} here has the id {text!r}; `covm federation {where}` lists what is there",
            code=f"unknown_{what}",
            details={"id": text},
        )
    raise ambiguous(text, matches, what)


def ambiguous(text: str, matches: list[str], what: str) -> Invalid:
    """The error for a beginning that several ids have; `matches` may be a part of them."""
    shown = matches[:SHOWN_MATCHES]
    more = ", and more" if len(matches) > SHOWN_MATCHES else ""
    return Invalid(
        f"{text!r} may mean several: {', '.join(shown)}{more}; give more of the {what}'s id",
        code=f"ambiguous_{what}",
        details={"id": text, "matches": shown},
    )
