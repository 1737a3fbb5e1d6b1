"""Passphrases: from a file, or typed where nobody sees them; never an argument, which every user of a machine sees."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

from covm.cli.message_argument import read_file
from covm.control.failures import Invalid

SHORTEST = 8
"""Characters of a new passphrase: fewer are tried out in hours by whoever finds the backup."""


def new_from_file(path: Path) -> str:
    """The first line of a file, to make a backup with. Raises `NotFound`, and `Invalid` when it is too short."""
    return _long_enough(from_file(path))


def from_file(path: Path) -> str:
    """The first line of a file, to open a backup with: whether it is right, the backup tells. Raises `NotFound`."""
    lines = read_file(path, otherwise="name another with --passphrase-file").splitlines()
    return lines[0] if lines else ""


def typed_twice(otherwise: str, *, may_ask: bool) -> str:
    """A new passphrase from the terminal. Raises `Invalid`, saying what to do `otherwise` where nobody can be asked."""
    passphrase = _long_enough(_typed("passphrase for the backup: ", otherwise, may_ask=may_ask))
    if getpass("the same again: ") != passphrase:
        raise Invalid("the two passphrases differ; try again", code="passphrases_differ")
    return passphrase


def typed_once(otherwise: str, *, may_ask: bool) -> str:
    """A passphrase that exists. Raises as `typed_twice`."""
    return _typed("passphrase of the backup: ", otherwise, may_ask=may_ask)


def _typed(prompt: str, otherwise: str, *, may_ask: bool) -> str:
    if not may_ask or not sys.stdin.isatty():
        raise Invalid(f"a passphrase is needed, and nobody can be asked here; {otherwise}", code="no_passphrase")
    return getpass(prompt)


def _long_enough(passphrase: str) -> str:
    if len(passphrase) < SHORTEST:
        raise Invalid(
            f"the passphrase has {len(passphrase)} characters; take {SHORTEST} or more, several words are best",
            code="short_passphrase",
        )
    return passphrase
