"""Files that are carried from one machine to another: read as far as a paper may go, written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from covm.control.failures import Failed, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from covm.federation.membership.papers import Paper

P = TypeVar("P")

FILE_MODE = 0o644
"""Of a file that was not there: nothing in a paper is secret."""


def read(path: Path, reader: Callable[[bytes], P]) -> P:
    """What a paper says. Raises `NotFound`, and `Invalid` for what cannot be read or is none."""
    from covm.federation.membership.papers import MAX_PAPER

    try:
        with path.expanduser().open("rb") as file:
            data = file.read(MAX_PAPER + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", code="no_file") from error
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error
    try:
        return reader(data)
    except ValueError as error:
        raise Invalid(f"{path}: {error}", code="bad_file") from error


def write(path: Path, paper: Paper) -> None:
    """Puts a paper there, over an older one of its kind; on return it is on disk.

    Raises `Failed`, and `Refused` where something else is there: a key that is overwritten is gone.
    """
    from covm.federation.membership.papers import MAX_PAPER, kind_of, write_paper

    place = path.expanduser().resolve()
    try:
        if place.is_file() and place.stat().st_size:
            with place.open("rb") as file:
                if kind_of(file.read(MAX_PAPER + 1)) != paper.covm:
                    raise Refused(
                        f"{path} is there already, and is no such file of covm's; choose another name, or remove it",
                        code="file_exists",
                    )
        _replace(place, write_paper(paper), stat.S_IMODE(place.stat().st_mode) if place.exists() else FILE_MODE)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}; choose another file", code="unwritable") from error


def _replace(place: Path, content: bytes, mode: int) -> None:
    descriptor, scratch = tempfile.mkstemp(prefix=".covm-", dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(scratch, place)
    except OSError:
        os.unlink(scratch)
        raise
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
