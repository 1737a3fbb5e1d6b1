"""Passphrases: from a file, or typed where nobody sees them; never an argument, which every user of a machine sees."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from covm.cli.message_argument import read_file
from covm.control.failures import Invalid

SHORTEST = 8
"""Characters of a new passphrase: fewer are tried out in hours by whoever finds the file."""

LONGEST = 4096
"""Characters of a new passphrase: any that a person keeps."""


def new_from_file(path: Path) -> str:
    """The first line of a file, to encrypt with. Raises `NotFound`, and `Invalid` when it is too short."""
    return good_enough(from_file(path))


def from_file(path: Path) -> str:
    """The first line of a file, to open something with: whether it is right, that tells. Raises `NotFound`."""
    lines = read_file(path, otherwise="name another file for the passphrase").splitlines()
    return lines[0] if lines else ""


def typed_twice(what: str, otherwise: str, *, may_ask: bool) -> str:
    """A new passphrase for `what`, from the terminal.

    Raises `Invalid`, saying what to do `otherwise` where nobody can be asked.
    """
    passphrase = good_enough(_typed(f"passphrase for {what}: ", otherwise, may_ask=may_ask))
    if getpass("the same again: ") != passphrase:
        raise Invalid("the two passphrases differ; try again", code="passphrases_differ")
    return passphrase


def typed_once(what: str, otherwise: str, *, may_ask: bool) -> str:
    """The passphrase that `what` has. Raises as `typed_twice`."""
    return _typed(f"passphrase of {what}: ", otherwise, may_ask=may_ask)


def good_enough(passphrase: str) -> str:
    """A new passphrase, if it may be one. Raises `Invalid`."""
    if len(passphrase) < SHORTEST:
        raise Invalid(
            f"the passphrase has {len(passphrase)} characters; take {SHORTEST} or more, several words are best",
            code="short_passphrase",
        )
    if len(passphrase) > LONGEST:
        raise Invalid(
            f"the passphrase has {len(passphrase):,} characters, and {LONGEST:,} are the most; is it another file?",
            code="long_passphrase",
        )
    return passphrase


def _typed(prompt: str, otherwise: str, *, may_ask: bool) -> str:
    if not may_ask or not sys.stdin.isatty():
        raise Invalid(f"a passphrase is needed, and nobody can be asked here; {otherwise}", code="no_passphrase")
    return getpass(prompt)
