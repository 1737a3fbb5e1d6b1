"""The keys of a home: the node's, made where there is none yet, and those of its member."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from covm.control.home import key_path
from covm.federation import Identity
from covm.federation.errors import IdentityError, PassphraseNeeded, WrongPassphrase
from covm.federation.identity.key_file import KeyFile
from covm.federation.identity.key_folder import KeyFolder
from covm.federation.identity.member_keys import MemberKeys
from covm.federation.store import has_store

KEYS_FOLDER = "member"
"""Where the member's keys lie in the home, unless they live on another machine."""

NODES_KEY = "the node's key"
MEMBERS_KEYS = "the member's keys"

Ask = Callable[[str], str]
"""Gives the passphrase of what it is told, which its owner types."""


class HomeKeys:
    """The keys of a home, each opened when it is first needed. What goes wrong is an `IdentityError`."""

    def __init__(self, home: Path, passphrase: str | None = None, ask: Ask | None = None) -> None:
        """`passphrase` opens what is encrypted; `ask` gives it where none was given."""
        self._home = home
        self._passphrase = passphrase
        self._ask = ask
        self._is_typed = False
        self._identity: Identity | None = None

    @property
    def peer_id(self) -> str:
        """Whose home it is; needs no passphrase. A home without a key gets one."""
        path = key_path(self._home)
        return KeyFile.at(path).peer_id if path.exists() else self.identity.peer_id

    @property
    def identity(self) -> Identity:
        """The node's key, made where there is none, encrypted if there is a passphrase."""
        if self._identity is None:
            self._identity = obtain(self._home, self._passphrase, None if self._ask is None else self._typed)
        return self._identity

    @property
    def folder(self) -> Path:
        """Where the member's keys lie."""
        return self._home / KEYS_FOLDER

    def begin_member(self) -> MemberKeys:
        """The member's keys, made where there are none; with the passphrase of the node's key, if that has one."""
        is_encrypted = bool(self.identity.path) and KeyFile.at(key_path(self._home)).is_encrypted
        try:
            return MemberKeys.create(self.folder, self._passphrase if is_encrypted else None)
        except IdentityError as error:
            if error.code != "exists":
                raise
        return self.member_keys()

    def member_keys(self) -> MemberKeys:
        """The member's keys that are there."""
        try:
            return open_member_keys(self.folder, self._passphrase, self._ask)
        except WrongPassphrase:
            if not self._is_typed:
                raise
        # What was typed is the passphrase of the node's key alone.
        return open_member_keys(self.folder, None, self._ask)

    def _typed(self) -> str:
        self._passphrase = self._ask(NODES_KEY) if self._ask is not None else None
        self._is_typed = True
        return self._passphrase or ""


def open_member_keys(folder: Path, passphrase: str | None, ask: Ask | None) -> MemberKeys:
    """A member's keys. The passphrase is asked for where they need one and none was given.

    What is made beside keys that are not encrypted is not either. Raises `IdentityError`.
    """
    files = KeyFolder(folder)
    names = files.names()
    locked = next((name for name in names if files.peek(name).is_encrypted), None)
    if locked is None:
        return MemberKeys.open(folder, None if names else passphrase)
    return MemberKeys.open(folder, unlock(files.file(locked), passphrase, ask, MEMBERS_KEYS)[1])


def unlock(file: Path, passphrase: str | None, ask: Ask | None, what: str) -> tuple[Identity, str | None]:
    """A key and the passphrase that opened it, asked for where one is needed and none was given.

    Raises `IdentityError`.
    """
    try:
        return Identity.load(file, passphrase), passphrase
    except PassphraseNeeded:
        if ask is None:
            raise
    passphrase = ask(what)
    return Identity.load(file, passphrase), passphrase


def obtain(home: Path, passphrase: str | None = None, ask: Callable[[], str] | None = None) -> Identity:
    """The node's key; one that is made is encrypted if there is a passphrase.

    `ask` gives the passphrase where one is needed and none was given. Raises `IdentityError`, also for a home that lost
    its key: a new one would be another node's.
    """
    key = key_path(home)
    if not key.exists() and has_store(home):
        why = (
            f"{home} has a store and no key: {key.name} is gone; bring the file back, or a backup "
            "(`covm store restore FILE --replace`), or begin as another node with another --home"
        )
        raise IdentityError(path=str(key), code="missing", why=why)
    try:
        return Identity.load_or_create(key, passphrase)
    except PassphraseNeeded:
        if ask is None:
            raise
    return Identity.load(key, ask())
