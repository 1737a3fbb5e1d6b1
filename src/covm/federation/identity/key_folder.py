"""A folder of key files: `current.key`, `next.key` ... Each change is one step, done or not done after a crash."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path
from typing import Final

from covm import _native
from covm.federation.errors import IdentityError, WrongPassphrase
from covm.federation.identity.key_file import KeyFile, PathLike, expanded
from covm.federation.identity.keys import Identity

SUFFIX: Final = ".key"
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\.key")
"""What a key file here may be called."""

MAX_KEYS: Final = 1000
"""Key files in a folder: a rotation a week for nineteen years. What a backup lists stays small."""

MAX_COPIED_BYTES: Final = 64 * 1024
"""A file that is copied: more than any key file has, so that a damaged one is copied as it is, and nothing large."""


class KeyFolder:
    """Key files by name, without `.key`, in the folder `path`, which need not be there yet.

    What begins with a dot is no key here: a file that a crash left half made.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = expanded(path)

    def file(self, name: str) -> Path:
        """Where the key called `name` lies, or would."""
        return self.path / f"{name}{SUFFIX}"

    def has(self, name: str) -> bool:
        """Whether anything of this name is there."""
        return os.path.lexists(self.file(name))

    def names(self) -> list[str]:
        """The names of all keys, sorted. Raises `IdentityError`, also for names and numbers of them beyond bounds."""
        try:
            found = sorted(each for each in os.listdir(self.path) if each.endswith(SUFFIX) and each[0] != ".")
        except OSError as error:
            raise self._refused("cannot be read", error) from error
        if strange := [each for each in found if not FILE_NAME.fullmatch(each)]:
            why = f"{strange[0]!r} in {self.path} is no key file's name; name it with letters, digits and -, or move it"
            raise IdentityError(path=str(self.path), code="damaged", why=why)
        if len(found) > MAX_KEYS:
            why = f"{self.path} has more than {MAX_KEYS:,} keys; move the oldest former-....key to another place"
            raise IdentityError(path=str(self.path), code="damaged", why=why)
        return [each.removesuffix(SUFFIX) for each in found]

    def peek(self, name: str) -> KeyFile:
        """Whose key it is, without its passphrase. Raises `IdentityError`."""
        return KeyFile.at(self.file(name))

    def load(self, name: str, passphrase: str | None) -> _native.Keypair:
        """The key. Raises as `Identity.load`."""
        return Identity.load(self.file(name), passphrase).keypair

    def make(self, name: str, passphrase: str | None) -> None:
        """Makes a key where none is; on return it is on disk. Raises as `Identity.create`."""
        Identity.create(self.file(name), passphrase)

    def encrypt(self, name: str, passphrase: str) -> None:
        """Encrypts a key that is not encrypted. Raises as `Identity.set_passphrase`."""
        Identity.set_passphrase(self.file(name), None, passphrase)

    def set_passphrase(self, old: str | None, new: str | None) -> list[str]:
        """Encrypts every key with `new`, or with None none of them, and returns their names; the keys stay the same.

        Each opens with `old`, or needs none, or has the new passphrase already: after a crash call it again. Raises as
        `Identity.set_passphrase`, with nothing changed where one does not open.
        """
        with self.held():
            names = self.names()
            left = [name for name in names if not self._is_done(name, new)]
            for name in left:
                self.load(name, old)
            for name in left:
                Identity.set_passphrase(self.file(name), old if self.peek(name).is_encrypted else None, new)
        return names

    def _is_done(self, name: str, new: str | None) -> bool:
        if not self.peek(name).is_encrypted or new is None:
            return not self.peek(name).is_encrypted and new is None
        try:
            self.load(name, new)
        except WrongPassphrase:
            return False
        return True

    def move(self, name: str, to: str) -> None:
        """Gives a key another name, which none has; on return that is on disk. The folder must be `held`."""
        if self.has(to):
            why = f"{self.file(to)} is there already, and a key is never overwritten; move one of the two away"
            raise IdentityError(path=str(self.file(to)), code="exists", why=why)
        try:
            os.rename(self.file(name), self.file(to))
            _sync(self.path)
        except OSError as error:
            raise self._refused(f"does not let {name}{SUFFIX} become {to}{SUFFIX}", error) from error

    def copy_to(self, target: Path) -> list[str]:
        """Copies every key file as it is into a folder that is there, all of one moment; returns the files' names.

        Raises `IdentityError`.
        """
        with self.held():
            files = [f"{name}{SUFFIX}" for name in self.names()]
            try:
                for each in files:
                    _copy(self.path / each, target / each)
            except OSError as error:
                raise self._refused("cannot be copied", error) from error
        return files

    def make_folder(self) -> None:
        """Makes the folder, 0700, where it is missing. Raises `IdentityError`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused("cannot be made", error) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else changes or copies the folder meanwhile: waits for who does. Raises `IdentityError`."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._refused("cannot be opened", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _refused(self, what: str, error: OSError) -> IdentityError:
        why = f"the folder {self.path} {what}: {error.strerror or error}; check the path, its permissions and the disk"
        return IdentityError(path=str(self.path), code="missing" if error.errno == ENOENT else "io", why=why)


def _copy(source: Path, target: Path) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(reading, "rb") as file:
        content = file.read(MAX_COPIED_BYTES + 1)
    if len(content) > MAX_COPIED_BYTES:
        raise OSError(None, f"{source.name} is larger than any key file")
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(writing, "wb") as file:
        file.write(content)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
