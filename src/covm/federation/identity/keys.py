"""The node's key: an Ed25519 key whose public half is the node's peer id.

The key file is read and written by the core, which documents its format and checks its owner and permissions. The
secret never enters Python; a passphrase does, and is kept nowhere.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from covm import _native
from covm.federation.errors import IdentityError
from covm.federation.identity.key_file import KeyFile, PathLike, expanded, told


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
    def load(cls, path: PathLike, passphrase: str | None = None) -> Identity:
        """The key in a file; `~` stands for the user's directory. A passphrase that it does not need is not looked at.

        Takes a tenth of a second if the file is encrypted. Raises `PassphraseNeeded`, `WrongPassphrase`, and
        `IdentityError`, whose `code` is missing, permissions (others may read it), owner, symlink, damaged or io.
        """
        place = expanded(path)
        with told(place):
            return cls(_native.Keypair.load(place, _bytes_of(passphrase)), place)

    @classmethod
    def create(cls, path: PathLike, passphrase: str | None = None) -> Identity:
        """Makes a key and writes it, 0600 in directories made 0700, encrypted if there is a passphrase.

        On return it is on disk. A file that is there is never overwritten. Raises `IdentityError` with the code exists,
        owner, permissions, symlink or io, and `ValueError` for an empty passphrase.
        """
        place = expanded(path)
        with told(place):
            return cls(_native.Keypair.create(place, _new_bytes_of(passphrase)), place)

    @classmethod
    def load_or_create(cls, path: PathLike, passphrase: str | None = None) -> Identity:
        """The key in a file, made first if there is none: the same node at each start.

        Raises as `load` and `create`. A file that is there and cannot be used is told, never replaced: a new key would
        be another node.
        """
        try:
            return cls.load(path, passphrase)
        except IdentityError as error:
            if error.code != "missing":
                raise
        try:
            return cls.create(path, passphrase)
        except IdentityError as error:
            if error.code != "exists":
                raise
        # Another process made it between the two: it is as good as ours.
        return cls.load(path, passphrase)

    @staticmethod
    def peek(path: PathLike) -> str:
        """The peer id of the key in a file, without its passphrase.

        Of an encrypted file nobody has proved it before it is loaded. Raises `IdentityError`.
        """
        return KeyFile.at(path).peer_id

    @staticmethod
    def set_passphrase(path: PathLike, old: str | None, new: str | None) -> None:
        """Writes the key again, encrypted with `new`, or with None not encrypted; the key stays the same.

        After a crash the file is the old one or the new one. What the disk held before may stay readable on it, and
        copies elsewhere open as they did. Raises as `load` with `old`; `IdentityError` also with the code changed,
        when another file came in its place meanwhile; and `ValueError` for an empty new passphrase.
        """
        place = expanded(path)
        with told(place):
            _native.Keypair.set_passphrase(place, _bytes_of(old), _new_bytes_of(new))

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


def _bytes_of(passphrase: str | None) -> bytes | None:
    """Composed (NFC, RFC 8265): the same words, typed on another machine, are the same bytes."""
    if passphrase is None:
        return None
    return unicodedata.normalize("NFC", passphrase).encode(errors="surrogateescape")


def _new_bytes_of(passphrase: str | None) -> bytes | None:
    if passphrase == "":
        raise ValueError("an empty passphrase protects nothing; pass None to leave the key as it is")
    return _bytes_of(passphrase)
