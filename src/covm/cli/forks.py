"""`covm federation forks`: who wrote two records at one place of a log, and the proof of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.records import SHOWN_ID, value_of
from covm.cli.rendering import date_time, facts, table
from covm.control import forks, schema
from covm.control.client import ControlClient
from covm.control.failures import Failed, NotFound

if TYPE_CHECKING:
    from covm.federation.wire.fork_proof import ForkProof


class Verified(schema.Versioned, kw_only=True, frozen=True):
    """What the proof in a file proves."""

    federation: str
    author: str
    """The peer id of the node that signed both."""
    type: str
    log: str
    seq: int
    records: list[str]
    """The ids of both."""


def list_forks(*, limit: int = schema.LIMIT_DEFAULT, common: Common = DEFAULT) -> None:
    """List who wrote two records at one place of a log. Both are kept, and are proof against their author.

    Parameters
    ----------
    limit
        How many at most.
    """
    found = ControlClient(common.folder).forks(limit)
    if common.json:
        say_json(forks.Forks(forks=found))
        return
    rows = [
        (each.id[SHOWN_ID], each.type, _author(each), each.seq, *(one.id[SHOWN_ID] for one in each.records))
        for each in found
    ]
    table(("FORK", "TYPE", "BY", "NUMBER", "FIRST", "OTHER"), rows, empty="nobody has said two things at one place")


def show(fork: str, /, *, common: Common = DEFAULT) -> None:
    """Show one, with both records.

    Parameters
    ----------
    fork
        Its id, or the beginning of it, as `forks list` tells.
    """
    found = ControlClient(common.folder).fork(fork)
    if common.json:
        say_json(forks.OneFork(fork=found))
    else:
        _tell(found)


def export(fork: str, file: Path, /, *, common: Common = DEFAULT) -> None:
    """Write the proof of one to a new file, which anybody verifies with `covm federation forks verify`.

    Parameters
    ----------
    fork
        Its id, or the beginning of it, as `forks list` tells.
    file
        Where to write it. A file that is there is not written over.
    """
    target = file.expanduser().absolute()
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent} for the file; make it first", code="no_folder")
    made = ControlClient(common.folder).export_fork(fork, target)
    if common.json:
        say_json(made)
    else:
        say(f"wrote the proof against {safe(_author(made.fork))} ({made.fork.author}) to {safe(made.path)}")


def verify(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Say who signed two different records at one place, or why a file proves nothing. Needs no node and no home.

    Parameters
    ----------
    file
        The proof.
    """
    proof = _read(file)
    one, other = proof
    header = one.body
    if common.json:
        ids = [str(each.id) for each in proof]
        say_json(
            Verified(
                federation=str(header.federation),
                author=one.author,
                type=header.type,
                log=str(header.log),
                seq=header.seq,
                records=ids,
            )
        )
        return
    say(f"{one.author} signed two different records as number {header.seq:,} of one log")
    facts((("type", header.type), ("federation", header.federation), ("log", header.log)))
    rows = [(each.id, date_time(each.body.hlc.time_ms), each.body.op, each.body.key) for each in (one, other)]
    table(("RECORD", "WRITTEN", "SAYS", "KEY"), rows, empty="")


def _read(file: Path) -> ForkProof:
    from covm.federation.wire.car import MalformedFile
    from covm.federation.wire.fork_proof import read_proof
    from covm.federation.wire.malformed import Malformed

    try:
        with file.expanduser().open("rb") as opened:
            return read_proof(opened.read)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}", code="no_file") from error
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}", code="unreadable_file") from error
    except MalformedFile as error:
        why = f"at byte {error.offset:,}: {error.reason}"
        raise Failed(f"{file} proves nothing: {why}", code="proves_nothing") from error
    except Malformed as error:
        raise Failed(f"{file} proves nothing: {error.reason}", code="proves_nothing") from error


def _tell(fork: forks.Fork) -> None:
    facts(
        (
            ("fork", fork.id),
            ("by", f"{_author(fork)} ({fork.author})"),
            ("member", fork.member),
            ("type", fork.type),
            ("number", fork.seq),
        )
    )
    rows = [(each.id, date_time(each.written_at), each.op, each.key, value_of(each.value)) for each in fork.records]
    table(("RECORD", "WRITTEN", "SAYS", "KEY", "VALUE"), rows, empty="")


def _author(fork: forks.Fork) -> str:
    return fork.name or fork.author
