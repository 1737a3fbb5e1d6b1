"""`covm identity export`, `import` and `log`: the identity of this node's member, as a file that is carried about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import Parameter

from covm.cli.federation_errors import as_failures
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import table
from covm.control.client import ControlClient
from covm.control.failures import Invalid, NoNode, NotFound
from covm.control.home import prepare_home
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.daemon.homestead import Homestead
    from covm.federation.identity.log import IdentityLog
    from covm.federation.identity.update import SignedUpdate

R = TypeVar("R")


class Exported(Versioned, kw_only=True, frozen=True):
    """A member's identity, written to a file or taken from one."""

    member: str
    name: str
    entries: int
    file: str


class LogEntry(Versioned, kw_only=True, frozen=True):
    """One entry of an identity log."""

    seq: int
    op: str
    about: str
    signed_by: str
    in_force: bool
    why: str


class Log(Versioned, kw_only=True, frozen=True):
    """An identity log, from the inception on."""

    member: str
    name: str
    contested: bool
    entries: list[LogEntry]


def export(
    file: Path,
    /,
    *,
    as_: Annotated[str | None, Parameter(name="--as")] = None,
    common: Common = DEFAULT,
) -> None:
    """Write the identity of this node's member to a file; a member begins, if there is none. Nothing in it is secret.

    Parameters
    ----------
    file
        Where to write it.
    as_
        What the member is called, if it begins; without it, the node's name.
    """
    from covm.federation.membership.papers import identity_paper, write_paper

    updates = _updates(common, as_ or "")
    log = _log(updates)
    name = log.head.name if log.head is not None else ""
    file.write_bytes(write_paper(identity_paper(updates, name)))
    _tell(Exported(member=str(log.member), name=name, entries=len(updates), file=str(file)), "wrote", common)


def import_(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Take the identity of this node's member from a file: entries that were signed elsewhere.

    Parameters
    ----------
    file
        The identity, from `covm identity export` or any command that signs.
    """
    from covm.federation.membership.papers import read_identity

    try:
        updates = read_identity(file.read_bytes())
    except (OSError, ValueError) as error:
        raise Invalid(f"{file}: {error}", code="bad_file") from error
    log = _log(updates)
    _take(common, updates)
    name = log.head.name if log.head is not None else ""
    _tell(Exported(member=str(log.member), name=name, entries=len(updates), file=str(file)), "took", common)


def show_log(*, common: Common = DEFAULT) -> None:
    """List the entries of this node's member's identity log, and which are in force."""
    log = _log(_updates(common, None))
    entries = [_entry(log, update) for update in log.held()]
    head = log.head
    answer = Log(member=str(log.member), name=head.name if head else "", contested=log.is_contested, entries=entries)
    if common.json:
        say_json(answer)
        return
    say(
        f"{safe(answer.name)}  {answer.member}{'  CONTESTED: two hold its key; recover it' if log.is_contested else ''}"
    )
    rows = [
        (each.seq, each.op, each.about, each.signed_by, "in force" if each.in_force else each.why) for each in entries
    ]
    table(("SEQ", "ENTRY", "ABOUT", "SIGNED BY", "STATE"), rows, empty="the log is empty")


def at_home(common: Common, work: Callable[[Homestead], Awaitable[R]]) -> R:
    """Does something on the home while no node runs there."""
    from covm.daemon import home_key
    from covm.daemon.homestead import homestead

    prepare_home(common.folder)

    async def run() -> R:
        async with homestead(common.folder, home_key.obtain(common.folder)) as home:
            return await work(home)

    with as_failures():
        try:
            return asyncio.run(run())
        except ValueError as error:
            raise Invalid(str(error), code="bad_identity") from error


def _updates(common: Common, begin_as: str | None) -> list[SignedUpdate]:
    """The entries of the own log: of the node if it runs, else of its home. None begins where `begin_as` is None."""
    from covm.federation.membership.papers import whole_log

    try:
        return whole_log(ControlClient(common.folder).identity())
    except NoNode:
        pass

    async def work(home: Homestead) -> IdentityLog | None:
        if begin_as is None:
            return await home.own_log()
        return await home.obtain_member(begin_as or home.config.name or home.identity.peer_id[-8:])

    log = at_home(common, work)
    if log is None or log.head is None:
        raise NotFound("this node is of no member yet: create or join a federation, or `covm identity export`")
    return list(log.updates())


def _take(common: Common, updates: Sequence[SignedUpdate]) -> None:
    """Gives entries to the node if it runs, else to its home."""
    envelopes = [update.envelope for update in updates]
    try:
        ControlClient(common.folder).take_identity(envelopes)
    except NoNode:
        at_home(common, lambda home: home.take_identity(updates))


def _log(updates: Sequence[SignedUpdate]) -> IdentityLog:
    from covm.federation.identity.log import IdentityLog
    from covm.federation.identity.update import member_of

    log = IdentityLog(member_of(updates[0]))
    for update in updates:
        log.add(update)
    return log


def _entry(log: IdentityLog, update: SignedUpdate) -> LogEntry:
    from covm.federation.identity.update import AddNode, Inception, Profile, RemoveNode

    body, verdict = update.body, log.verdict(update.id)
    match body:
        case Inception(name=name, nodes=nodes):
            about = f"{name}, {len(nodes)} nodes"
        case AddNode(node=node):
            about = f"{node.name} {node.node}"
        case RemoveNode(node=peer):
            about = peer
        case Profile(name=name):
            about = name
        case _:
            about = ""
    op = str(type(body).__struct_config__.tag)
    return LogEntry(
        seq=body.seq, op=op, about=safe(about), signed_by=update.author, in_force=verdict.holds, why=verdict.reason
    )


def _tell(exported: Exported, did: str, common: Common) -> None:
    if common.json:
        say_json(exported)
    else:
        say(f"{did} the identity of {safe(exported.name)} ({exported.member}): {safe(exported.file)}")
