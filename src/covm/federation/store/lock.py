"""The lock of a store: one process at a time, by `flock` on a file that is never removed.

Removing it would let two processes hold two locks of one name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from covm.federation.errors import HomeInUse, StoreUnavailable


class FileLock:
    """A lock on the folder `home`, held in its file `name`."""

    def __init__(self, home: Path, name: str) -> None:
        self._home = home
        self._path = home / name
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock. Raises `HomeInUse`, and `StoreUnavailable` where no file can be made."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreUnavailable(str(self._home), error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HomeInUse(str(self._home)) from None
        except OSError as error:
            os.close(descriptor)
            raise StoreUnavailable(str(self._home), f"it cannot be locked: {error.strerror}") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
