"""The node's key: an Ed25519 key whose public half is the node's peer id.

The key file is read and written by the core, which documents its format and checks its owner and permissions. The
secret never enters Python.
"""

from __future__ import annotations

import os
from pathlib import Path

from covm import _native
from covm.federation.errors import IdentityError

PathLike = str | os.PathLike[str]


class Identity:
    """Who a node is. Its `repr` shows the peer id and nothing secret.

    Make one with `generate` (a trial: gone when the process ends), `load_or_create` (a node's home), `load`, `create`
    or `from_seed` (simulations, tests).
    """

    __slots__ = ("_keypair", "_path")

    def __init__(self, keypair: _native.Keypair, path: Path | None = None) -> None:
        self._keypair = keypair
        self._path = path

    @classmethod
    def generate(cls) -> Identity:
        """A new key, kept in memory alone."""
        return cls(_native.Keypair.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """The key that follows from 32 bytes (RFC 8032). The same seed is the same node; a guessable one is no secret.

        Raises `ValueError` for another length.
        """
        return cls(_native.Keypair.from_seed(seed))

    @classmethod
    def load(cls, path: PathLike) -> Identity:
        """The key in a file; `~` stands for the user's directory.

        Raises `IdentityError`; its `code` is missing, permissions (others may read it), owner, symlink, damaged or io.
        """
        place = _place(path)
        try:
            return cls(_native.Keypair.load(str(place)), place)
        except _native.KeyFileError as error:
            raise _told(place, error) from None

    @classmethod
    def create(cls, path: PathLike) -> Identity:
        """Makes a key and writes it, 0600 in directories made 0700; on return it is on disk.

        A file that is there is never overwritten. Raises `IdentityError` with the code exists, owner, permissions,
        symlink or io.
        """
        place = _place(path)
        try:
            return cls(_native.Keypair.create(str(place)), place)
        except _native.KeyFileError as error:
            raise _told(place, error) from None

    @classmethod
    def load_or_create(cls, path: PathLike) -> Identity:
        """The key in a file, made first if there is none: the same node at each start.

        Raises `IdentityError`. A file that is there and cannot be used is told, never replaced: a new key would be
        another node.
        """
        try:
            return cls.load(path)
        except IdentityError as error:
            if error.code != "missing":
                raise
        try:
            return cls.create(path)
        except IdentityError as error:
            if error.code != "exists":
                raise
        # Another process made it between the two: it is as good as ours.
        return cls.load(path)

    @property
    def peer_id(self) -> str:
        """The peer id, base58: `12D3KooW...`."""
        return self._keypair.peer_id

    @property
    def did_key(self) -> str:
        """The same key as a decentralised identifier: `did:key:z6Mk...`."""
        return self._keypair.did_key

    @property
    def keypair(self) -> _native.Keypair:
        """The key in the core, for the network to sign with."""
        return self._keypair

    @property
    def path(self) -> Path | None:
        """The key file; None for a key in memory."""
        return self._path

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"


def _place(path: PathLike) -> Path:
    return Path(path).expanduser()


def _told(place: Path, error: _native.KeyFileError) -> IdentityError:
    return IdentityError(path=str(place), code=error.code, why=str(error))
