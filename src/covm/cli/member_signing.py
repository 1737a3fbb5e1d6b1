"""A member signs an entry of its identity log: with its keys in a folder, for a log that may be a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from covm.cli import key_passphrase
from covm.cli.federation_errors import as_failures
from covm.cli.home_work import asking
from covm.cli.identity_source import AtNode, InFile, Source
from covm.cli.options import Common
from covm.control.failures import Invalid, Refused

if TYPE_CHECKING:
    from covm._native import Keypair
    from covm.federation.identity.log import IdentityLog
    from covm.federation.identity.member import MemberState
    from covm.federation.identity.member_keys import MemberKeys
    from covm.federation.identity.update import Update

U = TypeVar("U", bound=Any)

ROTATED: Final = "rotate"
RECOVERED: Final = "recover"


class Signing:
    """The log, the keys, and the way back to where the log came from."""

    def __init__(
        self, source: Source, log: IdentityLog, keys: MemberKeys, folder: Path, recovery: Keypair | None = None
    ) -> None:
        """`recovery` is a recovery key that is kept elsewhere."""
        self.source = source
        self.log = log
        self.keys = keys
        self.folder = folder
        self.recovery = recovery

    @property
    def head(self) -> MemberState:
        """What the member is now."""
        head = self.log.head
        assert head is not None  # noqa: S101 - a log that was read has its inception
        return head

    def behind(self, after: int | None) -> MemberState:
        """The member at an entry in force, by its number; without one, at the newest. Raises `Invalid`."""
        if after is None:
            return self.head
        entry = next((each for each in self.log.updates() if each.body.seq == after), None)
        state = self.log.at(entry.id) if entry is not None else None
        if state is None:
            raise Invalid(
                f"no entry {after} is in force; `covm identity log` lists those that are, 1 to {self.head.seq}",
                code="no_entry",
            )
        return state

    def finish(self) -> str | None:
        """Takes over the keys of a change that was published before a crash; which, or None where there was none."""
        from covm.federation.identity.commitments import commitment

        key, ids = self.head.key, self.keys.ids
        new = {name for name in ids if name.startswith("new-")}
        is_half_recovered = bool(new) and "new-current" not in new
        if key == ids.get("new-current") or (is_half_recovered and key == ids.get("current")):
            with as_failures():
                self.keys.recovered(key)
            return RECOVERED
        is_ours = "after" in ids and commitment(ids["after"]) == self.head.next
        if is_ours and key == ids.get("next", ids.get("current")):
            with as_failures():
                self.keys.rotated(key)
            return ROTATED
        return None

    def require_uncontested(self) -> None:
        """Raises `Refused` where an entry would be one more of those that contradict each other."""
        if self.log.is_contested:
            raise Refused(
                f"the log is contested behind entry {self.head.seq}: two hold its key; end that first with `covm "
                "identity rotate`, or, if the next key was stolen too, with `covm identity recover`",
                code="contested",
            )

    def current(self) -> Keypair:
        """The key that signs for the member now. Raises `Invalid` where it is not in the folder."""
        if (name := self.file_of(self.head.key)) != "current":
            raise Invalid(self.mismatch(name), code="other_keys")
        with as_failures():
            found = self.keys.current
        assert found is not None  # noqa: S101 - it was there a moment ago
        return found

    def file_of(self, key: str) -> str:
        """The name of the file that has a key; empty where none has it."""
        return next((name for name, peer_id in self.keys.ids.items() if peer_id == key), "")

    def mismatch(self, name: str) -> str:
        """Why the keys in the folder are not those of the log, whose key is in the file of this name, if in any."""
        if name.startswith("former-"):
            return (
                f"the log is older than the keys in {self.folder}: its key is {name}.key, which was replaced since; "
                "take the identity that was written then, or import it first"
            )
        if name == "next":
            return (
                f"the log was rotated to next.key, and not with the keys in {self.folder}: bring the folder that did "
                "it with --keys, or, if the key was stolen, `covm identity recover --after` the last entry of your own"
            )
        return (
            f"the keys in {self.folder} are not those of the log, whose key is {self.head.key}: bring the member's "
            "newest folder with --keys, or `covm identity recover`"
        )

    def publish(self, draft: Update, key: Keypair) -> None:
        """Seals an entry, tries it, and brings it to where the log came from. Raises `Invalid`, `Refused`."""
        from covm.federation.identity.update import open_updates, seal_update
        from covm.federation.wire.malformed import Malformed

        [update] = open_updates([seal_update(key, draft)])
        if isinstance(update, Malformed):
            raise Invalid(f"the entry would not count: {update.reason}", code="bad_entry")
        placement = self.log.add(update)
        verdict = self.log.verdict(update.id) if update.id in self.log else placement.verdict
        if not verdict.holds:
            raise Refused(f"the entry would not count: {verdict.reason}", code="void_entry")
        self.source.keep(self.log)


def signing(
    common: Common, keys: Path | None, file: Path | None, passphrase_file: Path | None, recovery_key: Path | None = None
) -> Signing:
    """Reads the log, then opens the keys, whose passphrase is asked for if it is needed and not given.

    With a recovery key from elsewhere the folder may be lost: then it is made.
    """
    from covm.daemon.home_key import KEYS_FOLDER, HomeKeys, open_member_keys, unlock
    from covm.federation.identity.key_folder import KeyFolder

    passphrase = key_passphrase.given(passphrase_file)
    source: Source = InFile(file) if file is not None else AtNode(common, HomeKeys(common.folder))
    log = source.log()
    folder = common.folder / KEYS_FOLDER if keys is None else keys.expanduser()
    recovery = None
    with as_failures():
        if recovery_key is not None:
            found, passphrase = unlock(recovery_key.expanduser(), passphrase, asking(common), "the recovery key")
            recovery = found.keypair
            KeyFolder(folder).make_folder()
        opened = open_member_keys(folder, passphrase, asking(common))
    return Signing(source, log, opened, folder, recovery)


def drafted(draft: Callable[[], U]) -> U:
    """A draft. What would be wrong with the entry is `Invalid`."""
    try:
        return draft()
    except ValueError as error:
        raise Invalid(str(error), code="bad_entry") from error
