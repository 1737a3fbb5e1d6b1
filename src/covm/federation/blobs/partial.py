"""A file that is being received, on disk. Every call blocks: they are made through `Offload`.

<home>/files/<peer id>/.partial/<message id>     what has come so far, 0600
<home>/files/<peer id>/<name>                    the whole file, under the first name that is free
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import Final

from covm import _native
from covm.federation.blobs.chunks import LEAF_BYTES, Shape, checked_leaf
from covm.federation.blobs.names import numbered
from covm.federation.wire.malformed import Malformed

PARTIALS: Final = ".partial"
"""No received file is called so: their names never begin with a dot."""

MOST_NAMES: Final = 10_000
"""Numbers tried for a name that is taken; then the message's id is put behind it."""

SPARE_BYTES: Final = 64 * 1024 * 1024
"""What must be left on the disk for the store when a file is taken."""


class Partial:
    """One file under way. `open` before anything else; `close` frees the descriptor, whatever happened.

    `close` waits for a call that is still under way on another thread, whose descriptor would otherwise be another's.
    """

    def __init__(self, folder: Path, key: str, shape: Shape) -> None:
        self._folder = folder
        self._key = key
        self._path = folder / PARTIALS / key
        self._shape = shape
        self._file = -1
        self._lock = threading.Lock()

    def open(self, done_bytes: int) -> int:
        """Opens or begins it and returns how many bytes of it are there and verified: whole leaves, or everything.

        What was written beyond what was recorded goes: nobody knows whether all of it reached the disk.
        """
        for folder in (self._folder.parent, self._folder, self._path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._lock:
            self._file = os.open(self._path, flags, 0o600)
            there = min(done_bytes, os.fstat(self._file).st_size)
            if there < self._shape.size:
                there -= there % LEAF_BYTES
            os.ftruncate(self._file, there)
        return there

    def put(self, position: int, data: bytes, link: _native.Link) -> bool:
        """Writes a leaf at its place; False, and nothing is written, when it is not the one that the link names."""
        try:
            checked_leaf(data, self._shape, position, link)
        except Malformed:
            return False
        offset, rest = position * LEAF_BYTES, memoryview(data)
        with self._lock:
            while rest:
                written = os.pwrite(self._file, rest, offset)
                offset, rest = offset + written, rest[written:]
        return True

    def sync(self) -> None:
        """What was written is on disk when this returns."""
        with self._lock:
            os.fsync(self._file)

    def publish(self, name: str) -> Path:
        """Gives the whole file, synced, its name and returns the path. Twice is once.

        Nothing that is there is overwritten.
        """
        for number in range(1, MOST_NAMES):
            path = self._folder / numbered(name, number)
            if self._took(path):
                break
        else:
            path = self._folder / numbered(f"{self._key} {name}", 1)[:200]
            os.link(self._path, path, follow_symlinks=False)
        _sync_folder(self._folder)
        return path

    def discard(self) -> None:
        """Removes what is under way, if it can be; the published file stays."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        with self._lock:
            file, self._file = self._file, -1
            if file >= 0:
                os.close(file)

    def _took(self, path: Path) -> bool:
        try:
            os.link(self._path, path, follow_symlinks=False)
        except FileExistsError:
            # Published before a crash, and not recorded: it is this very file.
            return path.is_file() and not path.is_symlink() and path.samefile(self._path)
        return True


def free_bytes(folder: Path) -> int:
    """What fits on the disk under a folder that may not exist yet, with `SPARE_BYTES` left over."""
    while not folder.exists():
        folder = folder.parent
    return max(0, shutil.disk_usage(folder).free - SPARE_BYTES)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
