"""`covm identity show` and `passphrase`: the node's key, without its secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from covm.cli import key_passphrase, passphrases
from covm.cli.federation_errors import as_failures
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import facts
from covm.control.failures import Invalid
from covm.control.home import key_path
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.federation.identity.key_file import KeyFile


class Key(Versioned, kw_only=True, frozen=True):
    """The node's key, as its file shows it to whoever may read it."""

    peer_id: str
    did_key: str
    file: str
    encrypted: bool


def show(*, common: Common = DEFAULT) -> None:
    """Show the node's key: whose it is, where it lies, and whether it is encrypted. Needs no passphrase."""
    key = _key_of(common.folder)
    if common.json:
        say_json(_told(key))
        return
    encrypted = "yes, with a passphrase" if key.is_encrypted else "no; `covm identity passphrase` encrypts it"
    facts([("peer id", key.peer_id), ("did", key.did_key), ("file", key.path), ("encrypted", encrypted)])


def passphrase(
    *,
    passphrase_file: Path | None = None,
    new_passphrase_file: Path | None = None,
    remove: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Encrypt the node's key with a passphrase, change the passphrase, or remove it. The key stays the same.

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
    """
    from covm.federation import Identity

    if remove and new_passphrase_file is not None:
        raise Invalid("the passphrase is removed or changed, not both; leave one of them out", code="two_wishes")
    given = key_passphrase.given(passphrase_file)
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
