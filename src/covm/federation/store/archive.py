"""A backup file: an encrypted archive that is written and read as a stream, in little memory.

    covm-backup 1 <n>\\n      a line; n is 0 for a recipient
    n bytes                  for a passphrase: the archive's own age key, encrypted with the passphrase (age, scrypt)
    the rest                 a tar archive, encrypted in the age format (age-encryption.org/v1) for that key
                             or the recipient: manifest.json first, then the files that it lists

The key of its own is there because the library encrypts streams for keys only; a passphrase it takes for what fits
into memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Final, cast

import msgspec

from covm.federation.errors import StoreError
from covm.federation.identity.key_folder import FILE_NAME

MAGIC: Final = b"covm-backup 1 "
MANIFEST: Final = "manifest.json"
NAMES: Final = frozenset({"identity.key", "config.toml", "store.db", "store.dump"})
"""What a backup may hold, besides a member's keys: nothing else is ever written by a restore."""
MEMBER: Final = "member"
"""The folder of a member's keys, in the home and in a backup."""

CHUNK_BYTES: Final = 256 * 1024
BLOCK_BYTES: Final = 512
"""A tar archive's unit (POSIX ustar)."""
MAX_MANIFEST_BYTES: Final = 512 * 1024
"""A manifest that lists as many of a member's keys as there may be has a third of it."""
MAX_KEY_BYTES: Final = 4096


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup."""

    name: str
    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds, and whose it is."""

    format: int = 1
    covm: str
    """The version that made it."""
    peer_id: str
    made_at_ms: int
    engine: str
    """`sqlite` or `postgresql`."""
    revision: str
    """The schema's."""
    files: list[Entry]


class Secret:
    """What opens a backup: a passphrase, or an age key (`AGE-SECRET-KEY-...`); to write one, also a recipient."""

    def __init__(
        self, *, passphrase: str | None = None, recipient: str | None = None, identity: str | None = None
    ) -> None:
        if sum(each is not None for each in (passphrase, recipient, identity)) != 1:
            raise StoreError("a backup takes a passphrase, or an age key: give one of them")
        self._passphrase, self._recipient, self._identity = passphrase, recipient, identity

    def __repr__(self) -> str:
        return "Secret()"

    def to_write(self) -> tuple[bytes, Any]:
        """The head of the file, and the recipient that its rest is encrypted for."""
        from pyrage import RecipientError, passphrase, x25519

        if self._recipient is not None:
            try:
                return MAGIC + b"0\n", x25519.Recipient.from_str(self._recipient)
            except (RecipientError, ValueError) as error:
                raise StoreError(f"the recipient is no age key: {error}; it looks like age1...") from None
        if self._passphrase is None:
            raise StoreError("a backup is written with a passphrase, or for an age recipient")
        key = x25519.Identity.generate()
        sealed = passphrase.encrypt(str(key).encode(), self._passphrase)
        return MAGIC + f"{len(sealed)}\n".encode() + sealed, key.to_public()

    def to_read(self, file: IO[bytes]) -> Any:
        """Reads the head; the key that opens the rest."""
        from pyrage import DecryptError, IdentityError, passphrase, x25519

        line = file.readline(len(MAGIC) + 8)
        size = line.removeprefix(MAGIC).strip()
        if not line.startswith(MAGIC) or not size.isdigit() or int(size) > MAX_KEY_BYTES:
            raise StoreError("this is no backup made by covm; check the path")
        sealed = file.read(int(size))
        try:
            if self._passphrase is not None and sealed:
                return x25519.Identity.from_str(passphrase.decrypt(sealed, self._passphrase).decode())
            if self._identity is not None and not sealed:
                return x25519.Identity.from_str(self._identity)
        except (DecryptError, IdentityError, ValueError) as error:
            what = "passphrase" if sealed else "age key"
            raise StoreError(
                f"the backup does not open: the {what} is wrong, or the file is damaged ({error}); try another {what}, "
                "or another copy of the file"
            ) from None
        needed = "its passphrase" if sealed else "the age key of the recipient it was made for"
        raise StoreError(f"this backup opens with {needed}")


def entry_of(name: str, path: Path) -> Entry:
    """The file as it stands in the manifest."""
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return Entry(name, size, digest.hexdigest())


def write_archive(target: IO[bytes], secret: Secret, manifest: Manifest, paths: Sequence[Path]) -> None:
    """Writes the backup; `paths` are the manifest's files, in order. Raises `StoreError`, `OSError`."""
    from pyrage import EncryptError, encrypt_io

    head, recipient = secret.to_write()
    target.write(head)
    try:
        encrypt_io(cast("Any", _Reader(_tar(manifest, paths))), cast("Any", target), [recipient])
    except EncryptError as error:
        raise StoreError(f"the backup could not be encrypted: {error}") from error


def read_archive(source: IO[bytes], secret: Secret, folder: Path) -> Manifest:
    """Unpacks the backup into an empty folder; every file in it is what the manifest says. Raises `StoreError`."""
    from pyrage import DecryptError, decrypt_io

    key = secret.to_read(source)
    unpacker = _Unpacker(folder)
    try:
        decrypt_io(cast("Any", source), cast("Any", unpacker), [key])
    except (DecryptError, OSError) as error:
        if unpacker.error is None:
            raise StoreError(f"the backup does not open: {error}; it is damaged, or made for another key") from None
    finally:
        unpacker.close()
    if unpacker.error is not None:
        raise StoreError(f"the backup cannot be unpacked: {unpacker.error}") from unpacker.error
    return _verified(folder)


def _verified(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"the backup has no manifest that can be read: {error}") from None
    if manifest.format != 1:
        raise StoreError(f"the backup has format {manifest.format}, this covm reads 1: install a newer covm")
    unpacked = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if unpacked != {MANIFEST, *(entry.name for entry in manifest.files)}:
        raise StoreError("the backup does not hold the files that its manifest lists")
    for entry in manifest.files:
        if entry_of(entry.name, folder / entry.name) != entry:
            raise StoreError(f"{entry.name} in the backup is not what its manifest says")
    return manifest


def _may_hold(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return name in NAMES or name == MANIFEST or (folder == MEMBER and bool(FILE_NAME.fullmatch(file)))


def _chunks(path: Path) -> Iterator[bytes]:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _tar(manifest: Manifest, paths: Sequence[Path]) -> Iterator[bytes]:
    listed = msgspec.json.encode(manifest)
    yield from _member(MANIFEST, len(listed), iter([listed]))
    for entry, path in zip(manifest.files, paths, strict=True):
        yield from _member(entry.name, entry.size, _chunks(path))
    yield bytes(2 * BLOCK_BYTES)


def _member(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from content
    yield bytes(-size % BLOCK_BYTES)


class _Reader(io.RawIOBase):
    """Chunks as a file that is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._left = chunk
        taken, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return taken


class _Unpacker(io.RawIOBase):
    """A tar archive that is written piece by piece, taken apart into files. `error` is what went wrong, if anything.

    What it raises would be lost on the way through the decrypting library.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None
        self._left = self._padding = 0
        self._step: Callable[[], bool] = self._header
        self.error: BaseException | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.error is None:
            self._buffer += data
            try:
                while self._step():
                    pass
            except (OSError, tarfile.TarError, StoreError) as error:
                self.error = error
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _header(self) -> bool:
        if len(self._buffer) < BLOCK_BYTES:
            return False
        block = bytes(self._buffer[:BLOCK_BYTES])
        del self._buffer[:BLOCK_BYTES]
        if not any(block):
            return True
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        if not _may_hold(info.name) or (info.name == MANIFEST and info.size > MAX_MANIFEST_BYTES):
            raise StoreError(f"it holds {info.name!r:.80}, which a backup does not")
        self._left, self._padding = info.size, -info.size % BLOCK_BYTES
        (self._folder / info.name).parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._folder / info.name, flags, 0o600), "wb")
        self._step = self._content
        return True

    def _content(self) -> bool:
        assert self._file is not None  # noqa: S101
        taken = self._buffer[: self._left]
        self._file.write(taken)
        del self._buffer[: len(taken)]
        self._left -= len(taken)
        if self._left or len(self._buffer) < self._padding:
            return False
        del self._buffer[: self._padding]
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._step = self._header
        return True
