"""`covm identity rename`: a member is called otherwise."""

from __future__ import annotations

from pathlib import Path

from covm.cli.member_signing import drafted, signing
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control.schema import Versioned


class Renamed(Versioned, kw_only=True, frozen=True):
    """A member with its name."""

    member: str
    name: str
    before: str
    """What it was called; the same where nothing changed."""
    seq: int
    """The number of the newest entry in force."""
    file: str
    """The identity with the entry, to be imported where a node of the member runs; empty where it is there."""


def rename(
    name: str,
    /,
    *,
    keys: Path | None = None,
    file: Path | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Give the member another name, for everybody to see. Its id, and all that it did, stay as they are.

    Parameters
    ----------
    name
        What the member is called from now on, such as "Mill Bakery".
    keys
        The folder with the member's keys; without it, member in the home.
    file
        The identity, from `covm identity export`: the log is read from this file and written to it, and no node and no
        home is touched. Then carry it back: `covm identity import`.
    passphrase_file
        The passphrase of the member's keys, if they are encrypted, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.federation.identity.drafts import draft_rename
    from covm.federation.identity.names import check_name

    drafted(lambda: check_name(name, "the member's name"))
    work = signing(common, keys, file, passphrase_file)
    work.require_uncontested()
    work.finish()
    before = work.head.name
    if name != before:
        work.publish(drafted(lambda: draft_rename(work.head, name)), work.current())
    head, written = work.head, work.source.file
    if common.json:
        say_json(Renamed(member=str(head.member), name=name, before=before, seq=head.seq, file=written))
        return
    say(
        f"{safe(before)} is called {safe(name)} by entry {head.seq}"
        if name != before
        else f"it is called {safe(name)} already"
    )
    if written:
        say(f"next: covm identity import {safe(written)} where a node of the member runs")
