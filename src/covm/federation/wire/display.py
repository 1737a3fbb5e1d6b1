"""Text from others, made safe to show: nothing in it moves the cursor, colours, hides or reorders what is around it."""

from __future__ import annotations

from typing import Final

_JOINERS: Final = "\u200c\u200d"
"""Zero-width joiners: Persian, Indic scripts and emoji are written with them."""


def shown(text: str, *, lines: bool = False, limit: int | None = None) -> str:
    """The text with every control, escape, direction mark and invisible character written out, as in `\\x1b`.

    Spaces of other widths become plain ones. `lines=True` keeps line breaks, for text that is shown in a block of its
    own; otherwise they are written out as `\\n`. `limit` cuts to so many characters, the last one an ellipsis.

    A joiner between two characters outside ASCII stays, because words of several scripts need it.
    """
    if limit is not None and len(text) > limit:
        # Before escaping, so that a million characters cost no more than the limit, and after it once more.
        return _cut(_escaped(text[: limit + 1], lines), limit)
    safe = _escaped(text, lines)
    return safe if limit is None else _cut(safe, limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"[:limit]


def _escaped(text: str, lines: bool) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or (lines and character == "\n") else _in_place(text, index)
        for index, character in enumerate(text)
    )


def _in_place(text: str, index: int) -> str:
    """What stands for the unprintable character at `index`."""
    character = text[index]
    before, after = text[max(index - 1, 0) : index], text[index + 1 : index + 2]
    if character in _JOINERS and _is_foreign(before) and _is_foreign(after):
        return character
    return " " if _is_space(character) else _written_out(character)


def _is_foreign(neighbour: str) -> bool:
    """A visible character outside ASCII, so that a joiner beside it is writing and not hiding."""
    return neighbour > "\x7f" and neighbour.isprintable()


def _is_space(character: str) -> bool:
    """A space of another width (Unicode category Zs); the line breaks among `str.isspace` are not."""
    return character.isspace() and character > "\x9f" and character not in "\u2028\u2029"


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
