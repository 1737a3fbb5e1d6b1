"""`covm store check`, `backup` and `restore`: of a node that runs through its socket, otherwise directly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from covm.cli import passphrases
from covm.cli.exits import Exit
from covm.cli.federation_errors import as_failures
from covm.cli.message_argument import read_file
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import date_time, size
from covm.control import delivery
from covm.control.client import ControlClient
from covm.control.failures import Failed, Invalid, NoNode, NotFound, Refused
from covm.control.home import config_path, prepare_home

SECRET_KEY = "AGE-SECRET-KEY-"  # noqa: S105 - how a secret key begins, and none itself


def check(*, salvage: Path | None = None, common: Common = DEFAULT) -> int:
    """Read everything in the store, also while the node runs, and say what is wrong with it.

    Parameters
    ----------
    salvage
        Copy what can be read and verifies into this new store file. No node may run.
    """
    checked = _checked(common.folder) if salvage is None else _salvaged(common.folder, _new_file(salvage))
    if common.json:
        say_json(checked)
    else:
        _tell(checked)
    return Exit.FAILED if checked.problems else Exit.DONE


def backup(
    file: Path,
    /,
    *,
    passphrase_file: Path | None = None,
    recipient: str | None = None,
    common: Common = DEFAULT,
) -> None:
    """Write an encrypted backup with all that the node must not lose, its key among it; also while the node runs.

    Without an option, a passphrase is asked for twice.

    Parameters
    ----------
    file
        Where to write it. A file that is there is not written over.
    passphrase_file
        The passphrase is the first line of this file.
    recipient
        An age recipient, age1..., to encrypt for instead.
    """
    target = _new_file(file)
    passphrase = None
    if recipient is not None and passphrase_file is not None:
        raise Invalid("a backup has a passphrase or a recipient, not both; leave one of them out", code="two_secrets")
    if passphrase_file is not None:
        passphrase = passphrases.new_from_file(passphrase_file)
    elif recipient is None:
        otherwise = "give --passphrase-file FILE, or --recipient age1..."
        passphrase = passphrases.typed_twice("the backup", otherwise, may_ask=not common.no_input)
    try:
        made = ControlClient(common.folder).back_up(target, passphrase=passphrase, recipient=recipient)
    except NoNode:
        made = _backed_up(common.folder, target, passphrase, recipient)
    if common.json:
        say_json(made)
    else:
        say(f"backed up {made.peer_id} to {safe(made.path)}, {size(made.size_bytes)}")


def restore(
    file: Path,
    /,
    *,
    passphrase_file: Path | None = None,
    identity_file: Path | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Make the home from a backup. No node may run on it; the restored one begins a new incarnation.

    Without an option, the passphrase is asked for.

    Parameters
    ----------
    file
        The backup.
    passphrase_file
        The passphrase is the first line of this file.
    identity_file
        The age secret key, for a backup that was made for a recipient.
    replace
        Move aside what is in the home; without this it is left alone, and nothing is restored.
    """
    from covm.federation.store import restore_home

    if not file.exists():
        raise NotFound(f"there is no file {file}", code="no_file")
    passphrase = identity = None
    if identity_file is not None:
        identity = _age_key(identity_file)
    elif passphrase_file is not None:
        passphrase = passphrases.from_file(passphrase_file)
    else:
        otherwise = "give --passphrase-file FILE, or --identity-file FILE"
        passphrase = passphrases.typed_once("the backup", otherwise, may_ask=not common.no_input)
    home = common.folder
    prepare_home(home)
    with as_failures():
        url = _url_above_files()
        made = restore_home(file, home, url=url, passphrase=passphrase, identity=identity, replace=replace)
    restored = delivery.Restored(
        home=str(home),
        peer_id=made.peer_id,
        made_at=made.made_at_ms,
        moved_aside=made.moved_aside,
        moved_schema=made.moved_schema,
    )
    if common.json:
        say_json(restored)
        return
    say(f"restored {restored.peer_id} to {safe(home)}, as it was at {date_time(restored.made_at)}")
    if restored.moved_aside:
        say(f"what was there before lies in {safe(restored.moved_aside)}")
    if restored.moved_schema:
        say(
            f"the tables that were in the database lie in its schema {safe(restored.moved_schema)} now, "
            "your application's among them"
        )
    say("the node begins a new incarnation: its peers are told, and send again what they still hold")


def _checked(home: Path) -> delivery.Checked:
    """By the node, if one runs."""
    try:
        return ControlClient(home).check_store()
    except NoNode:
        pass
    from covm.federation.config.settings import without_password
    from covm.federation.store import check_home

    with as_failures():
        report = check_home(home, _store_url(home))
    problems = [*report.problems, *([f"and {report.more:,} more"] if report.more else [])]
    return delivery.Checked(where=without_password(report.where), problems=problems, counts=report.counts)


def _salvaged(home: Path, target: Path) -> delivery.Checked:
    from covm.federation.store import salvage_home

    _require_stopped(home)
    with as_failures():
        if _store_url(home):
            raise Invalid(
                "the store is a PostgreSQL database: salvage reads a damaged SQLite file; use the database's own tools",
                code="not_sqlite",
            )
        copied = salvage_home(home, target)
    problems = [f"{table} could not be read to its end" for table in copied.damaged]
    problems += [
        f"{count:,} rows of {table} do not verify and were left out" for table, count in copied.left_out.items()
    ]
    problems += [f"the {each} could not be made again: make it yourself" for each in copied.not_made]
    return delivery.Checked(where=str(home), problems=problems, counts=copied.rows, salvaged=str(copied.path))


def _backed_up(home: Path, target: Path, passphrase: str | None, recipient: str | None) -> delivery.BackedUp:
    from covm.federation.store import back_up_home

    with as_failures():
        made = back_up_home(home, target, url=_store_url(home), passphrase=passphrase, recipient=recipient)
    return delivery.BackedUp(path=str(made.path), peer_id=made.peer_id, size_bytes=made.size_bytes)


def _tell(checked: delivery.Checked) -> None:
    rows = sum(checked.counts.values())
    if checked.salvaged:
        say(f"copied {rows:,} rows that verify to {safe(checked.salvaged)}; the damaged store is as it was")
        note(
            "to use the copy, move the damaged store.db (with store.db-wal and store.db-shm) away and the copy into "
            "its place; the node begins a new incarnation with it"
        )
    elif not checked.problems:
        say(f"the store {safe(checked.where)} is sound: {rows:,} rows in {len(checked.counts)} tables")
    else:
        say(f"the store {safe(checked.where)} is damaged:")
    for problem in checked.problems:
        say(f"  {safe(problem)}")


def _new_file(file: Path) -> Path:
    target = file.expanduser().absolute()
    if target.exists():
        raise Invalid(f"{file} is there already and is not written over; choose another name", code="file_exists")
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent} for the file; make it first", code="no_folder")
    return target


def _require_stopped(home: Path) -> None:
    try:
        ControlClient(home).status()
    except NoNode:
        return
    raise Refused(
        f"the node on {home} is running; stop it first with `covm federation stop --home {home}`", code="node_runs"
    )


def _store_url(home: Path) -> str:
    """Where the home's configuration says that the store is; "" for the file in the home."""
    from covm.federation import FederationConfig

    file = config_path(home)
    return FederationConfig.load(file if file.exists() else None, options={"home": str(home)}).store_url


def _url_above_files() -> str:
    """What the environment says above any file: the home's own configuration is moved aside in a restore."""
    from covm.federation import FederationConfig

    environ = {name: value for name, value in os.environ.items() if name != "COVM_HOME"}
    return FederationConfig.load(environ=environ).store_url


def _age_key(file: Path) -> str:
    text = read_file(file, otherwise="name another with --identity-file")
    for line in text.splitlines():
        if line.strip().startswith(SECRET_KEY):
            return line.strip()
    raise Failed(f"{file} has no age secret key: a line that begins with {SECRET_KEY}", code="no_age_key")
