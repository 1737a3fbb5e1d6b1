"""`covm identity request` and `add-node`: a member gets another node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from msgspec import to_builtins

from covm.cli import paper_files
from covm.cli.home_work import at_home, home_keys
from covm.cli.identity_source import BAD, InFile
from covm.cli.member_signing import Signing, drafted, signing
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control.failures import Invalid, NotFound, Refused
from covm.control.membership import Undone
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.daemon.homestead import Homestead
    from covm.federation.identity.member import MemberNode, MemberState
    from covm.federation.membership.papers import NodePaper
    from covm.federation.membership.undoing import Writing

PEER_PREFIX = "12D3KooW"
"""What all peer ids begin with."""

SHORTEST_PREFIX = 4
"""Characters of a peer id, or of a name, that may stand for all of it."""


class Requested(Versioned, kw_only=True, frozen=True):
    """A node's request to be one of a member's, written to a file."""

    node: str
    name: str
    member: str
    member_name: str
    file: str


class NodeChanged(Versioned, kw_only=True, frozen=True):
    """A node that is a member's now, or is no more."""

    member: str
    member_name: str
    op: str
    seq: int
    """The number of the newest entry in force."""
    node: str
    name: str
    approver: bool
    changed: bool
    """False where it was so already."""
    undone: list[Undone]
    """What is otherwise now, since what the node wrote counts no more or not all of it."""
    records: int
    """Records of it that count no more."""
    file: str
    """The identity with the entry, to be imported where a node of the member runs; empty where it is there."""


def request(identity: Path, file: Path, /, *, passphrase_file: Path | None = None, common: Common = DEFAULT) -> None:
    """Ask for this node to be one of a member's, on the new node's machine. No node may run on this home.

    The file is for `covm identity add-node` where the member's keys are.

    Parameters
    ----------
    identity
        The member's identity, from `covm identity export` on a node of it.
    file
        Where to write the request.
    passphrase_file
        The passphrase of this node's key, if it is encrypted, is the first line of this file. COVM_PASSPHRASE_FILE, and
        COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    head = _head(InFile(identity))

    async def work(home: Homestead) -> NodePaper:
        own = await home.own_log()
        if own is not None and own.member != head.member:
            raise Refused("this node is of another member already; use another --home", code="other_member")
        return home.node_paper(head)

    paper = at_home(common, home_keys(common, passphrase_file), work, BAD)
    paper_files.write(file, paper)
    if common.json:
        say_json(
            Requested(node=paper.node, name=paper.name, member=paper.member, member_name=head.name, file=str(file))
        )
        return
    say(f"{safe(paper.name)} asks to be a node of {safe(head.name)}: {safe(file)}")
    say("next: covm identity add-node with this file, where the keys of the member are")


def add_node(
    request: Path,
    /,
    *,
    approver: Annotated[bool, Parameter(negative=())] = False,
    keys: Path | None = None,
    file: Path | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Make a node one of the member's, which has asked for it with `covm identity request`.

    Parameters
    ----------
    request
        The file that the new node has written.
    approver
        It may approve for the member, where that is a founder.
    keys
        The folder with the member's keys; without it, member in the home.
    file
        The identity, from `covm identity export`: the log is read from this file and written to it, and no node and no
        home is touched. Then carry it back: `covm identity import`, on a node of the member and on the new one.
    passphrase_file
        The passphrase of the member's keys, if they are encrypted, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.federation.identity.drafts import draft_add_node
    from covm.federation.membership.papers import read_node

    work = signing(common, keys, file, passphrase_file)
    work.require_uncontested()
    entry = paper_files.read(request, lambda data: read_node(data, work.head, approver=approver))
    work.finish()
    is_new = entry.node not in work.head.nodes
    if is_new:
        work.publish(drafted(lambda: draft_add_node(work.head, entry)), work.current())
    tell_change(work, "add_node", entry.node, work.head.nodes[entry.node], common, changed=is_new)


def found_node(member: MemberState, node: str) -> str:
    """The node that a text stands for. Raises `NotFound`, and `Invalid` where it fits several."""
    nodes = member.nodes
    found = [each for each in nodes if each == node]
    found = found or [each for each, known in nodes.items() if known.name.casefold() == node.casefold()]
    if not found and len(node) >= SHORTEST_PREFIX:
        found = [
            each
            for each, known in nodes.items()
            if each.startswith(node)
            or each.removeprefix(PEER_PREFIX).startswith(node)
            or known.name.casefold().startswith(node.casefold())
        ]
    if len(found) > 1:
        raise Invalid(f"{node!r} may be any of {', '.join(sorted(found))}; give more of the peer id", code="ambiguous")
    if not found:
        there = ", ".join(f"{known.name} {peer}" for peer, known in nodes.items())
        raise NotFound(f"{member.name} has no node {node!r}; it has {there or 'none'}", code="unknown_node")
    return found[0]


def _head(source: InFile) -> MemberState:
    head = source.log().head
    assert head is not None  # noqa: S101 - a log that was read has its inception
    return head


def tell_change(
    work: Signing,
    op: str,
    peer: str,
    node: MemberNode,
    common: Common,
    *,
    changed: bool = True,
    writing: Writing | None = None,
) -> None:
    """Says what has become of a node; `writing` is what a removed one had written."""
    head, file = work.head, work.source.file
    if common.json:
        say_json(
            NodeChanged(
                member=str(head.member),
                member_name=head.name,
                op=op,
                seq=head.seq,
                node=peer,
                name=node.name,
                approver=node.approver,
                changed=changed,
                undone=[] if writing is None else [Undone(**to_builtins(each)) for each in writing.undone],
                records=0 if writing is None else writing.records,
                file=file,
            )
        )
        return
    state = "is no node of" if op == "remove_node" else "is a node of" if changed else "is already a node of"
    say(f"{safe(node.name)} {peer} {state} {safe(head.name)}{f' by entry {head.seq}' if changed else ''}")
    if op == "add_node":
        took = f"covm identity import {safe(file)}" if file else "covm identity export FILE here, and import it"
        say(f"next: {took} on the new node{' and where a node of the member runs' if file else ''}")
    elif file:
        say(f"next: covm identity import {safe(file)} where a node of the member runs")
