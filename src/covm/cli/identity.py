"""`covm identity show` and `passphrase`: the node's key, without its secret, and whose node it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from covm.cli import key_passphrase, passphrases
from covm.cli.federation_errors import as_failures
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import facts
from covm.control.failures import ControlError, Invalid, NotFound
from covm.control.home import key_path
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.federation.identity.key_file import KeyFile
    from covm.federation.identity.log import IdentityLog


class Key(Versioned, kw_only=True, frozen=True):
    """The node's key, as its file shows it to whoever may read it."""

    peer_id: str
    did_key: str
    file: str
    encrypted: bool


class Keys(Versioned, kw_only=True, frozen=True):
    """The keys in a folder."""

    folder: str
    keys: list[str]
    """Their files, by name."""
    encrypted: bool


class Shown(Key, kw_only=True, frozen=True):
    """The node's key, and the member whose node it is."""

    member: str
    """The member's id; empty where there is none, or that cannot be told: see `member_why`."""
    member_name: str
    member_why: str
    contested: bool
    """Two hold the member's key, and say different things."""
    member_keys: list[str]
    """The member's key files in the home, by name."""


def show(*, common: Common = DEFAULT) -> None:
    """Show the node's key, whether it is encrypted, and the member whose node it is. Needs no passphrase."""
    key, folder = _key_of(common.folder), common.folder / "member"
    log, why = _member(common)
    head = None if log is None else log.head
    with as_failures():
        names = [f"{name}.key" for name in _key_names(folder)]
    if common.json:
        say_json(
            Shown(
                peer_id=key.peer_id,
                did_key=key.did_key,
                file=str(key.path),
                encrypted=key.is_encrypted,
                member="" if head is None else str(head.member),
                member_name="" if head is None else head.name,
                member_why=why,
                contested=log is not None and log.is_contested,
                member_keys=names,
            )
        )
        return
    encrypted = "yes, with a passphrase" if key.is_encrypted else "no; `covm identity passphrase` encrypts it"
    contested = "  CONTESTED: two hold its key" if log is not None and log.is_contested else ""
    facts(
        [
            ("peer id", key.peer_id),
            ("did", key.did_key),
            ("file", key.path),
            ("encrypted", encrypted),
            ("member", why if head is None else f"{head.name}  {head.member}{contested}"),
            ("its keys", f"{', '.join(names)} in {folder}" if names else f"none in {folder}" if head else ""),
        ]
    )


def _member(common: Common) -> tuple[IdentityLog | None, str]:
    """The log of the member whose node it is; or why none is told: the key is shown all the same."""
    from covm.cli.identity_source import AtNode
    from covm.daemon.home_key import HomeKeys
    from covm.federation.store import has_store

    if not has_store(common.folder):
        return None, "none yet"
    try:
        return AtNode(common, HomeKeys(common.folder)).log(), ""
    except NotFound:
        return None, "none yet"
    except ControlError as error:
        return None, "none yet" if error.code == "not_a_member" else f"not known: {error.message}"


def _key_names(folder: Path) -> list[str]:
    from covm.federation.identity.key_folder import KeyFolder

    return KeyFolder(folder).names() if folder.exists() else []


def passphrase(
    *,
    passphrase_file: Path | None = None,
    new_passphrase_file: Path | None = None,
    remove: Annotated[bool, Parameter(negative=())] = False,
    keys: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Encrypt the node's key, or the member's, with a passphrase, change it, or remove it. The keys stay the same.

    What is not given is asked for. A node that runs goes on.

    Parameters
    ----------
    passphrase_file
        The present passphrase is the first line of this file. COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the
        passphrase itself, are the same.
    new_passphrase_file
        The new passphrase is the first line of this file.
    remove
        Do not encrypt the key any more.
    keys
        All the keys in this folder instead of the node's: the member's, which lie in member in the home, or wherever
        you keep them. After a crash in between do it again.
    """
    from covm.federation import Identity

    if remove and new_passphrase_file is not None:
        raise Invalid("the passphrase is removed or changed, not both; leave one of them out", code="two_wishes")
    given = key_passphrase.given(passphrase_file)
    if keys is not None:
        _passphrase_of_all(keys.expanduser(), given, new_passphrase_file, common, remove=remove)
        return
    key = _key_of(common.folder)
    old = new = None
    if key.is_encrypted:
        old = key_passphrase.typed(common) if given is None else given
        with as_failures():
            Identity.load(key.path, old)  # a wrong one is told before a new one is asked for
    if not remove:
        new = _new(new_passphrase_file, common)
    if old is not None or new is not None:
        with as_failures():
            Identity.set_passphrase(key.path, old, new)
    if common.json:
        say_json(_told(_key_of(common.folder)))
    elif new is None:
        say(f"{safe(key.path)} is not encrypted{'' if old is None else ' any more'}")
    else:
        say(f"{safe(key.path)} is encrypted with {'the' if old is None else 'the new'} passphrase")
        say("the node needs it at each start; without it the key is lost, and copies made before open as they did")


def _passphrase_of_all(folder: Path, given: str | None, new_file: Path | None, common: Common, *, remove: bool) -> None:
    from covm.federation.identity.key_folder import KeyFolder

    there = KeyFolder(folder)
    with as_failures():
        is_encrypted = any(there.peek(name).is_encrypted for name in there.names())
    old = key_passphrase.typed(common) if is_encrypted and given is None else given
    new = None if remove else _new(new_file, common)
    with as_failures():
        names = [f"{name}.key" for name in there.set_passphrase(old, new)]
    if common.json:
        say_json(Keys(folder=str(folder), keys=names, encrypted=new is not None))
        return
    how = "are not encrypted" if new is None else "are encrypted with the passphrase; without it they are lost"
    say(f"{len(names)} keys in {safe(folder)} {how}: {', '.join(names)}")


def _new(file: Path | None, common: Common) -> str:
    if file is not None:
        return passphrases.new_from_file(file)
    return key_passphrase.typed_new(common, "give --new-passphrase-file FILE")


def _key_of(home: Path) -> KeyFile:
    from covm.federation.identity.key_file import KeyFile

    with as_failures():
        return KeyFile.at(key_path(home))


def _told(key: KeyFile) -> Key:
    return Key(peer_id=key.peer_id, did_key=key.did_key, file=str(key.path), encrypted=key.is_encrypted)
