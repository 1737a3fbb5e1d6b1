"""What a received file is called here. A rule: no I/O.

The sender chooses a name, not a place: what could lead out of the folder, hide the file, confuse a terminal or be too
long for a file system is taken out.
"""

from __future__ import annotations

import unicodedata
from typing import Final

MAX_NAME_BYTES: Final = 200
"""Bytes of a name: file systems allow 255, and a number may be added."""

MAX_SUFFIX_BYTES: Final = 20
"""An ending up to this long survives when a name is cut."""

UNNAMED: Final = "file"

_SEPARATORS: Final = "/\\"
"""What separates folders on one system or another."""


def safe_name(name: str) -> str:
    """The name under which a file may lie in a folder of ours: one part, visible, never empty, never hidden."""
    name = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    for separator in _SEPARATORS:
        name = name.rpartition(separator)[2]
    name = "".join(character if character.isprintable() and character != ":" else "_" for character in name)
    return _cut(name.strip(" .")) or UNNAMED


def numbered(name: str, number: int) -> str:
    """The name for the second file of that name and later ones: `oven.pdf` becomes `oven (2).pdf`."""
    if number == 1:
        return name
    stem, suffix = _parts(name)
    return f"{stem} ({number}){suffix}"


def _cut(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, suffix = _parts(name)
    if len(suffix.encode()) > MAX_SUFFIX_BYTES:
        stem, suffix = name, ""
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .") + suffix


def _parts(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem else (name, "")
