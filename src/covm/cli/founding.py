"""`covm federation create` and `charter sign`: a federation begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from covm.cli import paper_files
from covm.cli.config_file import put
from covm.cli.home_work import at_home, home_keys
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control.failures import Invalid
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.daemon.homestead import Homestead
    from covm.federation.membership.papers import OpenedCharter
    from covm.federation.membership.rules import Rules


class Founded(Versioned, kw_only=True, frozen=True):
    """A federation, or a charter on its way to be one. `federation` is empty until every founder has signed."""

    name: str
    federation: str
    member: str
    member_id: str
    charter: str
    """The file to be signed by the others; empty when nobody else is to sign."""
    lacking: list[str]
    """Founders that have not signed, by name."""


def create(
    name: str,
    /,
    *,
    as_: Annotated[str | None, Parameter(name="--as")] = None,
    founder: Annotated[list[Path] | None, Parameter(negative=())] = None,
    k: int = 1,
    rules: Path | None = None,
    charter: Path | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Found a federation. This node's member is a founder, alone or with others whose identities are given.

    No node may run on this home. With other founders a charter is written, for each of them to sign with
    `covm federation charter sign`; then the file comes back here and is signed once more, which makes it count.

    Parameters
    ----------
    name
        What the federation is called, such as "Three Valleys".
    as_
        What this node's member is called, such as "Mill Bakery"; without it, the node's name. A member that has begun
        is called something already: see `covm identity rename`.
    founder
        The identity of another founder, from `covm identity export` on its machine. May be given several times.
    k
        How many founders admit a new member.
    rules
        A TOML file with the roles and the types that have rules of their own; without it, the roles member, who may do
        everything, and observer, who may read. Nothing changes a charter later.
    charter
        Where the charter is written when others have to sign it; without it, charter.json here.
    passphrase_file
        The passphrase of an encrypted key is the first line of this file. COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE
        with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.federation.membership.papers import read_identity

    agreed = None if rules is None else _rules(rules)
    others = [paper_files.read(path, read_identity) for path in founder or []]

    async def work(home: Homestead) -> _Done:
        paper = await home.draft(name, as_, others, k, agreed)
        return await _go_on(home, paper_bytes(paper))

    _tell(_at_home(common, passphrase_file, work, charter or Path("charter.json")), common)


def sign(file: Path, /, *, passphrase_file: Path | None = None, common: Common = DEFAULT) -> None:
    """Sign a charter for this node's member, or, once all founders have, make it this node's federation.

    No node may run on this home. The file is written again with the signature; give it to the next founder.

    Parameters
    ----------
    file
        The charter, as the founder who drafted it wrote it.
    passphrase_file
        The passphrase of the member's keys, if they are encrypted, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """

    data = paper_files.read(file, bytes)
    _tell(_at_home(common, passphrase_file, lambda home: _go_on(home, data), file), common)


def _rules(file: Path) -> Rules:
    from covm.federation.membership.rules import BadRules, read_rules

    data = paper_files.read(file, bytes)
    try:
        return read_rules(data)
    except BadRules as error:
        raise Invalid(
            str(error), code="bad_rules", details={"problems": [each._asdict() for each in error.problems]}
        ) from error


def paper_bytes(paper: Any) -> bytes:
    """A paper as a file has it."""
    from covm.federation.membership.papers import write_paper

    return write_paper(paper)


async def _go_on(home: Homestead, data: bytes) -> _Done:
    """Signs, and adopts what everybody has signed."""
    opened = await home.sign(data)
    own = await home.own_log()
    if own is None or own.head is None:
        raise Invalid("this node is of no member yet", code="no_member")
    federation = "" if lacking_of(opened) else await home.adopt(opened)
    return _Done(opened, federation, own.head.name, str(own.member))


class _Done(NamedTuple):
    """What was done at home, before files are written."""

    opened: OpenedCharter
    federation: str
    member: str
    member_id: str


def _at_home(
    common: Common, passphrase_file: Path | None, work: Callable[[Homestead], Awaitable[_Done]], file: Path
) -> Founded:
    done = at_home(common, home_keys(common, passphrase_file), work, "bad_charter")
    if done.federation:
        put(common.folder, {"membership": "members", "federation": done.federation})
    goes_round = len(done.opened.charter.founders) > 1
    if goes_round:
        paper_files.write(file, done.opened.paper)
    return _founded(done.opened, done.federation, done.member, done.member_id, str(file) if goes_round else "")


def _founded(opened: OpenedCharter, federation: str, member: str, member_id: str, file: str) -> Founded:
    return Founded(
        name=opened.charter.name,
        federation=federation,
        member=member,
        member_id=member_id,
        charter=file,
        lacking=lacking_of(opened),
    )


def lacking_of(opened: OpenedCharter) -> list[str]:
    """Names of the founders that have not signed."""
    signers = opened.signed.signers if opened.signed is not None else frozenset()
    return [founder_name(opened, each.member) for each in opened.charter.founders if each.key not in signers]


def founder_name(opened: OpenedCharter, member: Any) -> str:
    """What a founder is called by its identity log in the paper."""
    from covm.federation.identity.identities import Identities

    head = Identities(opened.logs).head(member)
    return head.name if head is not None else str(member)


def _tell(founded: Founded, common: Common) -> None:
    if common.json:
        say_json(founded)
        return
    if founded.federation:
        say(f"founded {safe(founded.name)}: {founded.federation}")
        say(f"this node is of its founder {safe(founded.member)} ({founded.member_id})")
        if founded.charter:
            say(f"the charter with all signatures is in {safe(founded.charter)}: the other founders sign it once more")
        say("next: covm federation start, then covm federation invite")
        return
    say(f"signed the charter of {safe(founded.name)} for {safe(founded.member)}: {safe(founded.charter)}")
    say(f"to sign: {', '.join(map(safe, founded.lacking))}, with covm federation charter sign")
