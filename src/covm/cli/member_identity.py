"""`covm identity export`, `import` and `log`: the identity of this node's member, as a file that is carried about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from covm.cli import paper_files
from covm.cli.config_file import put
from covm.cli.federation_errors import as_failures
from covm.cli.home_work import at_home, home_keys
from covm.cli.identity_source import BAD, AtNode, InFile
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import table
from covm.control.client import ControlClient
from covm.control.failures import Invalid, NoNode
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.control.membership import OwnIdentity
    from covm.daemon.homestead import Homestead
    from covm.federation.identity.charter import SignedCharter
    from covm.federation.identity.log import IdentityLog
    from covm.federation.identity.update import SignedUpdate
    from covm.federation.membership.papers import IdentityPaper


class Exported(Versioned, kw_only=True, frozen=True):
    """A member's identity, written to a file or taken from one."""

    member: str
    name: str
    entries: int
    federation: str
    """The federation in the file, for new nodes of the member; empty when there is none in it."""
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
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Write the identity of this node's member to a file; a member begins, if there is none. Nothing in it is secret.

    With the identity goes the charter of its federation and where this node is reached, for a new node of the member.

    Parameters
    ----------
    file
        Where to write it.
    as_
        What the member is called, if it begins; without it, the node's name. One that has begun is called something
        already: see `covm identity rename`.
    passphrase_file
        The passphrase of an encrypted key, needed where a member begins, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    keys = home_keys(common, passphrase_file)
    try:
        paper = _paper_of(ControlClient(common.folder).identity())
    except NoNode:
        paper = at_home(common, keys, lambda home: _paper_at(home, as_), BAD)
    if as_ is not None and paper.name != as_:
        raise Invalid(
            f"this node's member is called {paper.name}: leave out --as, or give it another name with `covm identity "
            "rename NAME`",
            code=BAD,
        )
    paper_files.write(file, paper)
    _tell(Exported(**_about(paper), file=str(file)), "wrote", common)


def import_(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Take the identity of this node's member from a file: entries that were signed elsewhere.

    A node that is of no member yet becomes one of the member's, if the identity names it; if it is of no federation
    yet, it becomes one of the federation in the file. Then no node may run on the home.

    Parameters
    ----------
    file
        The identity, from `covm identity export` or any command that signs.
    """
    from covm.federation.membership.papers import federation_in, open_identity

    def opened(data: bytes) -> tuple[IdentityPaper, list[SignedUpdate], SignedCharter | None]:
        paper, log = open_identity(data)
        _check_addresses(paper.addresses)
        return paper, list(log.held()), federation_in(paper)

    paper, updates, federation = paper_files.read(file, opened)
    joined = AtNode(common, home_keys(common)).take(updates, federation)
    if joined:
        _take_part(common, paper)
    _tell(Exported(**_about(paper), file=str(file)), "took", common)


def show_log(*, file: Path | None = None, common: Common = DEFAULT) -> None:
    """List the entries of this node's member's identity log, and which are in force.

    Parameters
    ----------
    file
        The identity to show, from `covm identity export`; without it, that of this node's member.
    """
    log = (AtNode(common, home_keys(common)) if file is None else InFile(file)).log()
    entries = [_entry(log, update) for update in log.held()]
    head = log.head
    answer = Log(member=str(log.member), name=head.name if head else "", contested=log.is_contested, entries=entries)
    if common.json:
        say_json(answer)
        return
    contested = (
        "  CONTESTED: two hold its key; `covm identity rotate` or `recover` ends that" if log.is_contested else ""
    )
    say(f"{safe(answer.name)}  {answer.member}{contested}")
    rows = [
        (each.seq, each.op, each.about, each.signed_by, "in force" if each.in_force else each.why) for each in entries
    ]
    table(("SEQ", "ENTRY", "ABOUT", "SIGNED BY", "STATE"), rows, empty="the log is empty")


async def _paper_at(home: Homestead, begin_as: str | None) -> IdentityPaper:
    from covm.federation.membership.papers import identity_paper

    log = await home.obtain_member(begin_as)
    charter = await home.charter()
    reached = [each if "/p2p/" in each else f"{each}/p2p/{home.peer_id}" for each in home.config.announce_addresses]
    addresses = [*reached, *home.config.bootstrap_peers] if charter is not None else []
    return identity_paper(log.held(), log.head.name if log.head is not None else "", charter, addresses)


def _paper_of(own: OwnIdentity) -> IdentityPaper:
    from covm.federation.identity.charter import open_charter
    from covm.federation.membership.papers import identity_paper, whole_log

    log = whole_log(own.entries)
    charter = open_charter(own.charter) if own.charter else None
    name = log.head.name if log.head is not None else ""
    return identity_paper(log.held(), name, charter, own.addresses if charter else [])


def _about(paper: IdentityPaper) -> dict[str, Any]:
    from covm.federation.membership.papers import whole_log

    log = whole_log(paper.entries)
    return {
        "member": str(log.member),
        "name": log.head.name if log.head is not None else "",
        "entries": len(log),
        "federation": paper.federation,
    }


def _check_addresses(addresses: Sequence[str]) -> None:
    """So that nothing is written into the configuration with which no node starts."""
    from covm.federation import FederationConfig
    from covm.federation.errors import ConfigError

    try:
        FederationConfig(bootstrap_peers=list(addresses))
    except ConfigError as error:
        raise ValueError("its addresses are none: the file was altered or damaged") from error


def _take_part(common: Common, paper: IdentityPaper) -> None:
    """Makes the federation of the paper that of the home, where the configuration says nothing else."""
    from covm.daemon.process import load_config

    with as_failures():
        config = load_config(common.folder, {})
    if config.federation == paper.federation:
        return
    settings: dict[str, str | list[str]] = {"membership": "members", "federation": paper.federation}
    if not config.bootstrap_peers:
        settings["bootstrap_peers"] = list(paper.addresses)
    put(common.folder, settings)


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
        return
    say(f"{did} the identity of {safe(exported.name)} ({exported.member}): {safe(exported.file)}")
