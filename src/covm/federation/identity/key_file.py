"""What a key file tells whoever may read it, without its passphrase; and what is wrong with one, as an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from covm import _native
from covm.federation.errors import IdentityError, PassphraseNeeded, WrongPassphrase

PathLike = str | os.PathLike[str]

_ERRORS = {"passphrase_needed": PassphraseNeeded, "wrong_passphrase": WrongPassphrase}


@dataclass(frozen=True)
class KeyFile:
    """Whose key lies where."""

    path: Path
    peer_id: str
    """As the file says; of an encrypted one nobody has proved it before it is loaded."""
    did_key: str
    is_encrypted: bool

    @classmethod
    def at(cls, path: PathLike) -> KeyFile:
        """Reads the file at `path`; `~` stands for the user's directory. Raises `IdentityError`."""
        place = expanded(path)
        with told(place):
            return cls(place, *_native.Keypair.peek(place))


def expanded(path: PathLike) -> Path:
    """The path with `~` as the user's directory."""
    return Path(path).expanduser()


@contextmanager
def told(place: Path) -> Iterator[None]:
    """Turns what the core says is wrong with the file at `place` into the `IdentityError` for it."""
    try:
        yield
    except _native.KeyFileError as error:
        raise _ERRORS.get(error.code, IdentityError)(path=str(place), code=error.code, why=str(error)) from None
