"""A member's own keys: files in a folder apart from the node's, which may live on another machine.

    current.key       signs for the member
    next.key          will, after a rotation, which it signs
    recovery.key      signs a recovery; its owner moves it to another place
    after.key         made before a rotation is published: it is the next key then
    new-....key       made before a recovery is published: the current, next and recovery keys then
    former-....key    what was replaced, named by the end of its peer id; never removed

A change has three parts, in this order: prepare the keys that it commits to, publish it, take them over. A crash at any
moment loses no key, and the call that it interrupted is made again. Whether the change was published is known to the
identity log alone: after a crash compare its key with `ids`, or hand it to `rotated` and `recovered`, which do nothing
when it was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Final, NamedTuple

from covm import _native
from covm.federation.errors import IdentityError
from covm.federation.identity.key_file import PathLike
from covm.federation.identity.key_folder import KeyFolder

CURRENT: Final = "current"
NEXT: Final = "next"
RECOVERY: Final = "recovery"
AFTER: Final = "after"
ROLES: Final = (CURRENT, NEXT, RECOVERY)
NEW: Final = {role: f"new-{role}" for role in ROLES}

SHORT_ID: Final = 8
"""Characters of a peer id in a file's name: enough to find it by; its beginning is the same for all."""

_BEING_CREATED: Final = {"---", "N--", "NN-", "NNN", "RNN", "RRN"}
"""What `create` leaves when it is interrupted: each role's key missing, new, or in its place (R)."""


class RecoveredKeys(NamedTuple):
    """The keys that a recovery commits to."""

    current: _native.Keypair
    next: _native.Keypair
    recovery: _native.Keypair


class MemberKeys:
    """The keys in one folder. Its `repr` shows the folder and nothing secret.

    A key is loaded when it is asked for; encrypted ones need the passphrase, `ids`, `rotated` and `recovered` do not.
    What goes wrong is an `IdentityError`: `PassphraseNeeded`, `WrongPassphrase`, or its `code` says what.
    """

    __slots__ = ("_folder", "_loaded", "_passphrase")

    def __init__(self, folder: KeyFolder, passphrase: str | None = None) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._loaded: dict[str, _native.Keypair] = {}

    @classmethod
    def create(cls, folder: PathLike | KeyFolder, passphrase: str | None = None) -> MemberKeys:
        """Makes `current.key`, `next.key` and `recovery.key`, encrypted if there is a passphrase; then all are on disk.

        Goes on where a crash interrupted it. A folder that has keys of a member is refused (exists).
        """
        keys = cls(_folder_of(folder), passphrase)
        keys._folder.make_folder()
        with keys._folder.held():
            keys._create()
        return keys

    @classmethod
    def open(cls, folder: PathLike | KeyFolder, passphrase: str | None = None) -> MemberKeys:
        """The keys in a folder that is there (missing). Whether the passphrase is right shows when a key is loaded."""
        keys = cls(_folder_of(folder), passphrase)
        with keys._folder.held():
            return keys

    @property
    def current(self) -> _native.Keypair | None:
        """The key that signs for the member; None where its file is not there."""
        return self._pair(CURRENT)

    @property
    def next(self) -> _native.Keypair | None:
        """The key that signs the next rotation, and for the member after it; None where its file is not there."""
        return self._pair(NEXT)

    @property
    def recovery(self) -> _native.Keypair | None:
        """The key that signs a recovery; None where its file is not there, because its owner keeps it elsewhere."""
        return self._pair(RECOVERY)

    @property
    def after(self) -> _native.Keypair | None:
        """The key that will be the next one after the next rotation; None before `prepare_next` and after `rotated`."""
        return self._pair(AFTER)

    @property
    def ids(self) -> Mapping[str, str]:
        """The peer id of each key that is there, by the name of its file without `.key`; needs no passphrase."""
        return {name: self._folder.peek(name).peer_id for name in self._folder.names()}

    def prepare_next(self) -> _native.Keypair:
        """Makes the key after next, to which a rotation commits, before that is published; the same one each time.

        Raises `IdentityError` where there is no next key to rotate to (missing), and where `rotated` or `recovered` was
        interrupted (unfinished).
        """
        with self._folder.held():
            self._require_no_half_recovery()
            if not self._folder.has(NEXT):
                if self._folder.has(AFTER):
                    raise self._error("unfinished", "a rotation is taken over by half; call rotated() first")
                raise self._error("missing", "it has no next.key, so no rotation can follow; bring the file back")
            if not self._folder.has(AFTER):
                self._try_passphrase(CURRENT, NEXT)
                self._folder.make(AFTER, self._passphrase)
            return self._load(AFTER)

    def rotated(self, key: str | None = None) -> None:
        """Takes over the keys of a rotation that was published: next becomes current, after becomes next.

        `key` is the peer id that the identity log has for the member now. With it nothing is done where no rotation
        was published, whatever is prepared; without it, whatever is prepared is taken over. Raises `IdentityError`
        (missing) where the log's key is none of the member's here.
        """
        with self._folder.held():
            if not self._folder.has(AFTER):
                self._require(key, CURRENT)
                return
            if self._folder.has(NEXT):
                if key is not None and key == self._id(CURRENT):
                    return
                self._require(key, NEXT)
                self._retire(CURRENT)
                self._folder.move(NEXT, CURRENT)
            else:
                self._require(key, CURRENT)
            self._folder.move(AFTER, NEXT)

    def prepare_recovery(self) -> RecoveredKeys:
        """Makes the three keys to which a recovery commits, before that is published; the same ones each time.

        Raises `IdentityError` where `recovered` was interrupted (unfinished).
        """
        with self._folder.held():
            self._require_no_half_recovery()
            self._try_passphrase(*NEW.values(), *ROLES)
            self._make_new()
            return RecoveredKeys(*(self._load(NEW[role]) for role in ROLES))

    def recovered(self, key: str | None = None) -> None:
        """Takes over the keys of a recovery that was published; those that they replace become former ones.

        `key` as for `rotated`. Raises `IdentityError` where the keys were not all prepared (unfinished), and where the
        log's key is none of the member's here (missing).
        """
        with self._folder.held():
            there = self._new_there()
            if not there or CURRENT not in there:
                self._require(key, CURRENT)
            elif key is not None and key == self._id(CURRENT):
                return
            elif len(there) < len(ROLES):
                why = "a recovery is prepared by half, so none can have been published; call prepare_recovery() first"
                raise self._error("unfinished", why)
            else:
                self._require(key, NEW[CURRENT])
            self._take_over()

    def __repr__(self) -> str:
        return f"MemberKeys({str(self._folder.path)!r})"

    def _take_over(self) -> None:
        """New keys into their places, in the order in which they were made: what is left tells how far it came."""
        there = self._new_there()
        if there:
            self._retire(AFTER)
        for role in there:
            self._retire(role)
            self._folder.move(NEW[role], role)

    def _create(self) -> None:
        names = self._folder.names()
        state = "".join(self._mark(role) for role in ROLES)
        if state not in _BEING_CREATED or set(names) - {*ROLES, *NEW.values()}:
            raise self._error("exists", "it has a member's keys already; open it, or choose another folder")
        for name in names:
            if self._passphrase is not None and not self._folder.peek(name).is_encrypted:
                self._folder.encrypt(name, self._passphrase)
            self._load(name)  # a passphrase that is not that of the first attempt is told
        if not self._folder.has(CURRENT):
            self._make_new()
        self._take_over()

    def _mark(self, role: str) -> str:
        marks = {(True, False): "R", (False, True): "N", (False, False): "-"}
        return marks.get((self._folder.has(role), self._folder.has(NEW[role])), "both")

    def _make_new(self) -> None:
        for role in ROLES:
            if not self._folder.has(NEW[role]):
                self._folder.make(NEW[role], self._passphrase)

    def _retire(self, name: str) -> None:
        if not self._folder.has(name):
            return
        former = f"former-{self._folder.peek(name).peer_id[-SHORT_ID:]}"
        names = (former if number == 1 else f"{former}-{number}" for number in count(1))
        self._folder.move(name, next(each for each in names if not self._folder.has(each)))

    def _new_there(self) -> list[str]:
        return [role for role in ROLES if self._folder.has(NEW[role])]

    def _pair(self, name: str) -> _native.Keypair | None:
        return self._load(name) if self._folder.has(name) else None

    def _load(self, name: str) -> _native.Keypair:
        peer_id = self._folder.peek(name).peer_id
        if peer_id not in self._loaded:
            self._loaded[peer_id] = self._folder.load(name, self._passphrase)
        return self._loaded[peer_id]

    def _id(self, name: str) -> str | None:
        return self._folder.peek(name).peer_id if self._folder.has(name) else None

    def _try_passphrase(self, *names: str) -> None:
        """So that no key is made with a passphrase that is mistyped, or without one beside those that have one."""
        for name in names:
            if self._folder.has(name) and self._folder.peek(name).is_encrypted:
                self._load(name)
                return

    def _require(self, key: str | None, name: str) -> None:
        if key is not None and key != self._id(name):
            why = f"the identity log has the key {key}, which is not that of {name}.key here; bring the right folder"
            raise self._error("missing", why)

    def _require_no_half_recovery(self) -> None:
        there = self._new_there()
        if there and there[0] != CURRENT:
            raise self._error("unfinished", "a recovery is taken over by half; call recovered() first")

    def _error(self, code: str, why: str) -> IdentityError:
        path = str(self._folder.path)
        return IdentityError(path=path, code=code, why=f"the folder {path}: {why}")


def _folder_of(folder: PathLike | KeyFolder) -> KeyFolder:
    return folder if isinstance(folder, KeyFolder) else KeyFolder(folder)
