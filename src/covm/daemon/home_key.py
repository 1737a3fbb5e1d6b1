"""The key of a home, made where there is none yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from covm.control.home import key_path
from covm.federation import Identity
from covm.federation.errors import IdentityError, PassphraseNeeded
from covm.federation.store import has_store


def obtain(home: Path, passphrase: str | None = None, ask: Callable[[], str] | None = None) -> Identity:
    """The node's key; one that is made is encrypted if there is a passphrase.

    `ask` gives the passphrase where one is needed and none was given. Raises `IdentityError`, also for a home that lost
    its key: a new one would be another node's.
    """
    key = key_path(home)
    if not key.exists() and has_store(home):
        why = (
            f"{home} has a store and no key: {key.name} is gone; bring the file back, or a backup "
            "(`covm store restore FILE --replace`), or begin as another node with another --home"
        )
        raise IdentityError(path=str(key), code="missing", why=why)
    try:
        return Identity.load_or_create(key, passphrase)
    except PassphraseNeeded:
        if ask is None:
            raise
    return Identity.load(key, ask())
