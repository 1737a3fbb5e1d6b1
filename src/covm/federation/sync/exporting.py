"""`Carrier`: the records of a type to a file, and from one.

Files are read and written in threads, a page at a time, so neither takes more memory for a million records than for a
few.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeVar

from covm import _native
from covm.federation.errors import BrokenExport, FileUnusable, NothingHeld
from covm.federation.offload import Offload
from covm.federation.sync import body_rows, export_rows
from covm.federation.sync.export import PAGE_BYTES, Carried, ExportReader, ExportWriter, is_export
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.taken import Taken
from covm.federation.sync.verifying import sound_ones
from covm.federation.wire.car import MalformedFile

T = TypeVar("T")

FILE_MODE: Final = 0o600
"""Of a file that was not there: what is in it may be for members only."""

BATCH_RECORDS: Final = 2048
"""Records that are taken in one go: while some are judged and written, the next are verified."""

COMPLETED_AT_ONCE: Final = 64
"""Values that are written in one commit to records that are here without them."""

_BUFFER: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    type: str
    """Whose records are in it."""
    path: str
    """Where it is."""
    root: str
    """The CID that leads to everything in it."""
    records: int
    """Records, void ones and those that wait too."""
    left_out: int
    """Records whose value is not held here any more: they are in the file without it."""
    size_bytes: int
    """Bytes of the file."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A file that was read to its end."""

    type: str
    """Whose records are in it."""
    path: str
    """Where it is."""
    root: str
    """The CID that leads to everything in it."""
    records: int
    """Records in it."""
    new: int
    """Records of them that were not here."""
    completed: int
    """Records of them that were here without their value, and have it now."""
    refused: int
    """Records of them that have no place here: their author forked a log too often, or began too many, or their member
    has as much as it may have."""
    left_out: int
    """Records of them that are in the file without their value."""
    postponed: int
    """Logs of which records are to be imported again: too many wait to be judged here."""


class Carrier:
    """Exports and imports."""

    def __init__(self, keeper: Keeper, offload: Offload) -> None:
        self._keeper = keeper
        self._offload = offload

    async def export(self, type_name: str, path: Path) -> Exported:
        """Writes all records of a type that are here now; the file is there whole, or as it was before.

        Raises `NothingHeld`, `FileUnusable`, and `StoreError`.
        """
        store, federation = self._keeper.store, self._keeper.federation
        span = await store.read(lambda tx: export_rows.span_of(tx, type_name))
        if span is None:
            raise NothingHeld(type_name)
        file = await self._on_file(path, partial(_Scratch, path, federation, type_name))
        try:
            records, left_out, after = 0, 0, 0
            while True:
                behind = partial(export_rows.piece_behind, span=span, after=after)
                piece = await store.read(behind)
                if piece is None:
                    break
                await self._on_file(path, partial(file.writer.page, piece.records))
                records, left_out, after = records + len(piece.records), left_out + piece.left_out, piece.last
            root, size_bytes = await self._on_file(path, file.finish)
        finally:
            file.discard()
        return Exported(type_name, str(path), str(root), records, left_out, size_bytes)

    async def import_(self, path: Path, accepts: Callable[[str], None]) -> Imported:
        """Takes the records in a file, as if they came from a peer, once all of it is verified.

        `accepts` raises for a type that this node may not have. Raises what that does, `FileUnusable`, `BrokenExport`
        with nothing taken, and `StoreError`: then what had been taken stays, and the next import goes on from there.
        """
        file = await self._on_file(path, partial(_opened, path))
        try:
            reader = await self._begun(file, path)
            accepts(reader.root.type)
            records = left_out = 0
            async for found in self._each(_verified(reader), path):
                records, left_out = records + found.records, left_out + found.left_out
            new, completed, taken = 0, 0, Taken()
            while True:
                taken, filled = await self._take(file, path)
                new, completed = new + taken.placed, completed + filled
                if not taken.placed or not taken.postponed:
                    break  # otherwise there is room now for some of those that found none
        finally:
            file.close()
        return Imported(
            reader.root.type,
            str(path),
            str(reader.root_id),
            records,
            new,
            completed,
            taken.refused,
            left_out,
            len(taken.postponed),
        )

    async def _take(self, file: IO[bytes], path: Path) -> tuple[Taken, int]:
        """Takes what is in the file and not here, and how many records were given their values.

        Each record is verified anew: the file may have been changed.
        """
        reader = await self._begun(file, path)
        type_name, total, completed = reader.root.type, Taken(), 0
        async for some in self._each(_batches(reader), path):
            taken = await self._keeper.take(
                [each.envelope for _, each in some],
                [each.body for _, each in some],
                accepts=lambda header: header.type == type_name,
            )
            total = total.and_(taken)._replace(keys=frozenset(), forks=())
            completed += await self._complete([line for line in some if line[1].body is not None], type_name)
        return total, completed

    async def _complete(self, some: Sequence[tuple[_native.Link, Carried]], type_name: str) -> int:
        """Gives those of these records their values that are here without them; how many."""
        keeper, completed = self._keeper, 0
        lacking = await keeper.store.read(partial(body_rows.bare, ids=[link for link, _ in some]))
        wanted = [each for link, each in some if link in lacking]
        for at in range(0, len(wanted), COMPLETED_AT_ONCE):
            part = wanted[at : at + COMPLETED_AT_ONCE]
            envelopes, bodies = [each.envelope for each in part], [each.body for each in part]
            sound = await self._offload.run(partial(sound_ones, envelopes, bodies, keeper.federation))
            fitting = [each for each in sound if each.record.body.type == type_name]
            completed += await keeper.embody(fitting, is_given=True)
        return completed

    async def _begun(self, file: IO[bytes], path: Path) -> ExportReader:
        def begun() -> ExportReader:
            file.seek(0)
            return ExportReader(file.read)

        reader = await self._on_file(path, begun)
        if reader.root.federation != self._keeper.federation:
            why = f"it is of the federation {reader.root.federation}, and this node of {self._keeper.federation}"
            raise BrokenExport(str(path), 0, why)
        return reader

    async def _each(self, found: Iterator[T], path: Path) -> AsyncIterator[T]:
        """What an iterator finds in a file, one after the other in a thread."""
        while (one := await self._on_file(path, partial(next, found, None))) is not None:
            yield one

    async def _on_file(self, path: Path, work: Callable[[], T]) -> T:
        """Does something with a file in a thread. Raises `FileUnusable` and `BrokenExport`."""
        try:
            return await self._offload.run(work)
        except MalformedFile as error:
            raise BrokenExport(str(path), error.offset, error.reason) from None
        except OSError as error:
            raise FileUnusable(str(path), error.strerror or str(error)) from error


class _Counted(NamedTuple):
    records: int
    left_out: int


def _verified(reader: ExportReader) -> Iterator[_Counted]:
    """What is in each page, all of it verified. Raises `MalformedFile`, at the end too."""
    for page in reader.pages():
        records = reader.verified(page)
        left_out = sum(
            line.body is None and record.body.op == "put" for line, record in zip(page.lines, records, strict=True)
        )
        yield _Counted(len(records), left_out)


def _batches(reader: ExportReader) -> Iterator[list[tuple[_native.Link, Carried]]]:
    """Pages together, as many as are worth judging at once: records and their ids."""
    found: list[tuple[_native.Link, Carried]] = []
    size_bytes = 0
    for page in reader.pages():
        found += zip((line.header for line in page.lines), page.carried(), strict=True)
        size_bytes += sum(len(block.data) for block in page.blocks.values())
        if len(found) >= BATCH_RECORDS or size_bytes >= PAGE_BYTES:
            yield found
            found, size_bytes = [], 0
    if found:
        yield found


class _Scratch:
    """A file on its way to its place. Every method blocks, and raises `OSError`."""

    def __init__(self, path: Path, federation: _native.Link, type_name: str) -> None:
        """Raises `FileUnusable` where something else is there."""
        self._place = path.resolve()
        mode = _mode_of(self._place, federation, type_name)
        descriptor, self._name = tempfile.mkstemp(prefix=".covm-", dir=self._place.parent)
        self._file = os.fdopen(descriptor, "w+b", buffering=_BUFFER)
        try:
            os.fchmod(descriptor, mode)
            self.writer = ExportWriter(self._file.write, federation, type_name)
        except BaseException:
            self.discard()
            raise

    def finish(self) -> tuple[_native.Link, int]:
        """Writes the rest, and puts the file in its place: on return it is on disk. Its root and size."""
        root, beginning = self.writer.finish()
        size_bytes = self._file.tell()
        self._file.seek(0)
        self._file.write(beginning)
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._name, self._place)
        folder = os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return root, size_bytes

    def discard(self) -> None:
        """Closes it; what did not get to its place is gone."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name)


def _mode_of(place: Path, federation: _native.Link, type_name: str) -> int:
    """The mode of the file that is to be there. Raises `FileUnusable` for one that is not written over."""
    if not place.exists():
        return FILE_MODE
    with _opened(place) as file:
        status = os.fstat(file.fileno())
        if status.st_size and not is_export(file.read, federation, type_name):
            why = f"something else than an export of {type_name} is there; choose another name, or remove it"
            raise FileUnusable(str(place), why)
    return stat.S_IMODE(status.st_mode)


def _opened(path: Path) -> IO[bytes]:
    # Without O_NONBLOCK, opening a pipe would wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb", buffering=_BUFFER)
    os.close(descriptor)
    raise FileUnusable(str(path), "it is no regular file")
