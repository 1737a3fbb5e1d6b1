"""The key of a home, made where there is none yet."""

from __future__ import annotations

from pathlib import Path

from covm.control.home import key_path
from covm.federation import Identity
from covm.federation.errors import IdentityError
from covm.federation.store import has_store


def obtain(home: Path) -> Identity:
    """The node's key. Raises `IdentityError`, also for a home that lost its key: a new one would be another node's."""
    key = key_path(home)
    if not key.exists() and has_store(home):
        why = (
            f"{home} has a store and no key: {key.name} is gone; bring the file back, or a backup "
            "(`covm store restore FILE --replace`), or begin as another node with another --home"
        )
        raise IdentityError(path=str(key), code="missing", why=why)
    return Identity.load_or_create(key)
