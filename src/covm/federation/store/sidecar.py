"""`store.id`: a small file in the home that says that there was a store, and which.

Without it a store that vanished (a file removed by mistake, a disk that is not mounted, another database behind the
URL) would look like a first start, and the node would begin anew with nothing: losing silently what it held, and
speaking again under an incarnation that it may have used.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from covm.federation.errors import StoreCorrupt, StoreUnavailable
from covm.federation.store.files import replace_file
from covm.federation.store.tables import STORE_ID, get_meta, put_meta

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

ID_BYTES = 16
FILE_NAME = "store.id"


class Sidecar:
    """The file in one home; without a home (a database by URL used by a program) nothing is checked."""

    def __init__(self, home: Path | None, where: str) -> None:
        self._path = None if home is None else home / FILE_NAME
        self._where = where

    def read(self) -> str | None:
        """The id of the store that this home had; None before the first."""
        if self._path is None:
            return None
        try:
            return self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(str(self._path), str(error)) from error

    def require_none(self) -> None:
        """Raises `StoreCorrupt` where there is no store although the home had one."""
        if (known := self.read()) is not None:
            raise StoreCorrupt(self._where, f"it is gone or empty, but this home had a store ({known[:8]})")

    def settle(self, tx: Transaction) -> bytes:
        """Inside a job: the id of the store, made if it has none. Raises `StoreCorrupt` when it is another's."""
        known, held = self.read(), get_meta(tx, STORE_ID)
        if held is None:
            if known is not None:
                raise StoreCorrupt(self._where, f"it has no id, but this home's store is {known[:8]}")
            held = secrets.token_bytes(ID_BYTES)
            put_meta(tx, STORE_ID, held)
        if known is not None and known != held.hex():
            raise StoreCorrupt(self._where, f"it is the store {held.hex()[:8]}, but this home's store is {known[:8]}")
        return held

    def write(self, store_id: bytes) -> None:
        """Notes the id once the store with it is on disk."""
        if self._path is None or self.read() is not None:
            return
        try:
            replace_file(self._path, store_id.hex().encode() + b"\n")
        except OSError as error:
            raise StoreUnavailable(str(self._path), error.strerror or str(error)) from error
