"""The passphrase of the node's key: from a file or the environment where it is given, otherwise typed."""

from __future__ import annotations

import os
from pathlib import Path

from covm.cli import passphrases
from covm.cli.options import Common
from covm.control.home import key_path

FILE_VARIABLE = "COVM_PASSPHRASE_FILE"
VARIABLE = "COVM_PASSPHRASE"

OTHERWISE = f"give --passphrase-file FILE, or {FILE_VARIABLE} or {VARIABLE} in the environment"


def given(file: Path | None) -> str | None:
    """The passphrase, if there is one: in the file, in the file that the environment names, or in the environment.

    The environment has it no longer then: neither does a process started from here inherit it, nor does the system show
    it. Raises `NotFound`.
    """
    inherited, named = _taken_out(VARIABLE), _taken_out(FILE_VARIABLE)
    if file is not None:
        return passphrases.from_file(file)
    if named:
        return passphrases.from_file(Path(named).expanduser())
    return inherited or None


def _taken_out(variable: str) -> str:
    value = os.environ.get(variable, "")
    if value:
        _erase(variable)
        del os.environ[variable]
    return value


def _erase(variable: str) -> None:
    """Overwrites it where it lies: what the system shows of a process's environment is the memory it began with."""
    import ctypes

    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    getenv.argtypes = (ctypes.c_char_p,)
    if place := getenv(variable.encode()):
        ctypes.memset(place, 0, len(ctypes.string_at(place)))


def given_for(home: Path, file: Path | None) -> str | None:
    """As `given`; for a home whose key is still to be made it has to be a good one. Raises `Invalid` too."""
    passphrase = given(file)
    if passphrase is not None and not key_path(home).exists():
        return passphrases.good_enough(passphrase)
    return passphrase


def typed(common: Common) -> str:
    """The passphrase that the key has, typed. Raises `Invalid` where nobody can be asked."""
    return passphrases.typed_once("the node's key", OTHERWISE, may_ask=not common.no_input)


def typed_new(common: Common, otherwise: str = OTHERWISE) -> str:
    """A new one, typed twice. Raises `Invalid`."""
    return passphrases.typed_twice("the node's key", otherwise, may_ask=not common.no_input)
