"""A file that is being sent, on disk. Every call blocks: they are made through `Offload`.

It is sent from where it lies and opened for each read alone, so any number of files under way costs no descriptors.
What is read is checked against what was hashed when the file was offered: a file that changed is never sent half old.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final

from covm import _native
from covm.federation.blobs.chunks import LEAF_BYTES, MAX_SIZE, Shape, checked_leaf, leaf_link
from covm.federation.errors import FileUnreadable
from covm.federation.wire.malformed import Malformed

LEAVES_A_CALL: Final = 16
"""Leaves hashed in one call: 4 MiB, some milliseconds."""

CHANGED: Final = "the file changed since it was offered"

_WHOLE: Final = 2**63 - 1


class SourceGone(Exception):
    """The file is no longer what was offered; its text says what is wrong, for people on both sides."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was when it was offered."""

    path: bytes
    size: int
    inode: int
    modified_ns: int

    def leaf(self, position: int, link: _native.Link) -> bytes:
        """A leaf of it. Raises `SourceGone`."""
        data = self._read(position * LEAF_BYTES, LEAF_BYTES)
        try:
            return checked_leaf(data, Shape(self.size), position, link)
        except Malformed:
            raise SourceGone(CHANGED) from None

    def leaves(self, position: int) -> list[tuple[_native.Link, int]]:
        """Ids and sizes of the leaves from this one on, some at a time; the whole file is hashed so. As `leaf`."""
        data = memoryview(self._read(position * LEAF_BYTES, LEAVES_A_CALL * LEAF_BYTES))
        first = [data[:LEAF_BYTES]]
        rest = [data[begin : begin + LEAF_BYTES] for begin in range(LEAF_BYTES, len(data), LEAF_BYTES)]
        return [(leaf_link(leaf), len(leaf)) for leaf in (*first, *rest)]

    def _read(self, offset: int, count: int) -> bytes:
        try:
            file = _opened(self.path)
        except OSError as error:
            raise SourceGone(f"the file can no longer be read: {error.strerror}") from error
        try:
            if _described(self.path, os.fstat(file)) != self:
                raise SourceGone(CHANGED)
            parts, wanted = [], min(count, self.size - offset)
            while wanted > 0 and (part := os.pread(file, wanted, offset)):
                parts.append(part)
                offset, wanted = offset + len(part), wanted - len(part)
            if wanted > 0:
                raise SourceGone(CHANGED)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        except OSError as error:
            raise SourceGone(f"the file can no longer be read: {error.strerror}") from error
        finally:
            os.close(file)


def look_at(path: str | os.PathLike[str]) -> Source:
    """The file at this path, as it is now. Raises `FileUnreadable`."""
    absolute = os.path.abspath(os.fsencode(path))
    name = os.fsdecode(absolute)
    try:
        file = _opened(absolute)
        try:
            status = os.fstat(file)
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise FileUnreadable(name, getattr(error, "strerror", None) or str(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise FileUnreadable(name, "it is a folder; pack it into one file first")
    if not stat.S_ISREG(status.st_mode):
        raise FileUnreadable(name, "it is no regular file; copy its content into one")
    if status.st_size > MAX_SIZE:
        raise FileUnreadable(name, f"it has {status.st_size:,} bytes, and at most {MAX_SIZE:,} can be sent")
    return _described(absolute, status)


def _opened(path: bytes) -> int:
    # Without O_NONBLOCK, opening a pipe would wait for its other end.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _described(path: bytes, status: os.stat_result) -> Source:
    return Source(path, status.st_size, status.st_ino & _WHOLE, status.st_mtime_ns)
