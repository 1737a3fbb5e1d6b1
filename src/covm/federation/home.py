"""A node's home as the service uses it: a folder of its own, and one node at a time.

lock       held (flock) while a node runs on the home
store.db   what must outlive a restart (see `store`), unless `store_url` names another place
files/     files that peers sent
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from covm.federation.errors import HomeInUse, StoreUnavailable


class Home:
    """The home of a running node; without a path, everything is in memory and nothing lasts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock: int | None = None

    @property
    def path(self) -> Path | None:
        return self._path

    def open(self) -> None:
        """Makes the folder and takes the lock. Raises `HomeInUse`, `StoreUnavailable`."""
        if self._path is None:
            return
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(str(self._path), error.strerror or str(error)) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise HomeInUse(str(self._path)) from None

    def close(self) -> None:
        """Gives the lock back. The file stays: removing it would let two nodes hold two locks of one name."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
