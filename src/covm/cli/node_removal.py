"""`covm identity remove-node` and `approvals`: a member loses a node, and sees first what that would undo."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from covm.cli.home_work import home_keys
from covm.cli.identity_nodes import found_node, tell_change
from covm.cli.identity_source import NOTHING, AtNode
from covm.cli.member_signing import Signing, drafted, signing
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say_json
from covm.cli.rendering import date_time, sentence, short_id, table
from covm.cli.times import moment_ms
from covm.control.failures import Invalid, Refused
from covm.control.membership import Approved
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.federation.membership.undoing import Undone, Writing

TOLD = 12
"""Names that a sentence lists, and approvals that are listed with a question; the others are counted."""

_WHAT = {
    "member": ("{} would be {none} any more", "member", "members"),
    "again": ("{} would be {again} again", "removed member", "removed members"),
    "roles": ("{} would have fewer roles", "member", "members"),
    "removal": ("{} would not count any more", "removal", "removals"),
    "type": ("{} would have another rule", "type", "types"),
    "erasure": ("{} might come again", "erased value", "erased values"),
}


class Approvals(Versioned, kw_only=True, frozen=True):
    """What nodes have approved, the oldest first by their clocks."""

    approvals: list[Approved]


def approvals(node: str | None = None, /, *, common: Common = DEFAULT) -> None:
    """List what the nodes of this node's member have approved, and when by their own clocks.

    Who has the key of a node writes what time it likes, also behind what the node wrote before.

    Parameters
    ----------
    node
        A peer id, the beginning of one (also without its 12D3KooW), or the name of a node that the member has; without
        it, all that it has.
    """
    source = AtNode(common, home_keys(common))
    head = source.log().head
    assert head is not None  # noqa: S101 - a log that was read has its inception
    nodes = list(head.nodes) if node is None else [found_node(head, node)]
    written = [source.written_by(peer) for peer in nodes]
    found = [each for writing in written for each in writing.approved]
    found.sort(key=lambda each: each.time_ms)
    if common.json:
        listed = [
            Approved(
                node=each.node,
                kind=each.kind,
                subject=each.subject,
                name=each.name,
                time=each.time_ms,
                counts=each.counts,
                why=each.why,
            )
            for each in found
        ]
        say_json(Approvals(approvals=listed))
        return
    rows = [
        (
            date_time(each.time_ms),
            head.nodes[each.node].name,
            each.kind,
            each.name,
            short_id(each.subject),
            "counts" if each.counts else sentence(each.why),
        )
        for each in found
    ]
    table(("WHEN", "NODE", "WHAT", "WHO", "ID", "STATE"), rows, empty="it has approved nothing")


def remove_node(
    node: str,
    /,
    *,
    until: str | None = None,
    nothing_of_it_counts: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
    keys: Path | None = None,
    file: Path | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Take a node away from the member: it is sent away by everybody. What it wrote up to now still counts.

    What a founder's node approved is among what it wrote: where less is to count, who would be no member any more is
    told first, and asked about. Any founder gives it again with `covm federation approve`.

    Parameters
    ----------
    node
        A peer id, the beginning of one (also without its 12D3KooW), or the node's name.
    until
        What the node wrote up to this time counts, and nothing later, such as "2026-03-01 14:30:05": a time here, or
        with a zone behind it. It is the node's own clock that says when it wrote something: a thief who has its key can
        write earlier times behind what the node had written. See `covm identity approvals`.
    nothing_of_it_counts
        Nothing that the node wrote counts any more, because somebody else may have written it with its key.
    yes
        Do not ask.
    keys
        The folder with the member's keys; without it, member in the home.
    file
        The identity, from `covm identity export`: the log is read from this file and written to it, and no node and no
        home is touched. Then carry it back: `covm identity import`.
    passphrase_file
        The passphrase of the member's keys, if they are encrypted, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.federation.identity.drafts import draft_remove_node

    if until is not None and nothing_of_it_counts:
        raise Invalid("give --until or --nothing-of-it-counts, not both", code="usage")
    until_ms = NOTHING if nothing_of_it_counts else None if until is None else moment_ms(until, "--until")
    work = signing(common, keys, file, passphrase_file)
    work.require_uncontested()
    work.finish()
    peer = found_node(work.head, node)
    writing = work.source.written_by(peer, until_ms)
    if not yes:
        _ask(work, peer, writing, until_ms, common)
    known = work.head.nodes[peer]
    places = () if writing is None else writing.places
    work.publish(drafted(lambda: draft_remove_node(work.head, peer, places)), work.current())
    tell_change(work, "remove_node", peer, known, common, writing=writing)
    if not common.json and writing is not None and any(each.kind != "again" for each in writing.undone):
        note("what founders approve counts again: covm federation requests, and approve")


def _ask(work: Signing, peer: str, writing: Writing | None, until_ms: int | None, common: Common) -> None:
    """Has it confirmed where it is more than one node less."""
    what = []
    if peer == work.source.own_node:
        what.append("it is this node: it takes part no longer, and everybody sends it away")
    if len(work.head.nodes) == 1:
        what.append("it is the last node: the member does nothing any more until it has another")
    if writing is not None and writing.undone:
        what += undone_sentences(writing.undone)
        what.append(f"see what it approved, and when: covm identity approvals {peer}")
    elif writing is None and work.source.may_approve:
        what.append(
            "the member may be a founder, and a file does not tell what the node has approved: whom it alone let in "
            "would be no member any more (a node of the member lists that: covm identity approvals)"
        )
    if not what:
        return
    told = f"{work.head.nodes[peer].name} {peer}: {'; '.join(what)}"
    if common.no_input or not sys.stdin.isatty():
        raise Invalid(f"{told}; if that is meant, give --yes", code="not_confirmed")
    # Beside the answer: standard output may be for a program.
    for line in _approved(writing, until_ms):
        note(line)
    print(f"{safe(told)}. Remove it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise Refused("nothing was removed", code="not_confirmed")


def undone_sentences(undone: Iterable[Undone]) -> list[str]:
    """What would be otherwise, a part of a sentence for each kind: counted, and named."""
    listed: list[str] = []
    by_kind: dict[str, list[Undone]] = {}
    for each in undone:
        by_kind.setdefault(each.kind, []).append(each)
    for kind, some in by_kind.items():
        says, one, several = _WHAT[kind]
        count = f"{len(some):,} {one if len(some) == 1 else several}"
        which = {"none": "none", "again": "a member" if len(some) == 1 else "members"}
        listed.append(f"{says.format(count, **which)}: {_names(some)}")
    return listed


def _names(undone: Sequence[Undone]) -> str:
    told = [each.name if each.kind == "type" else f"{each.name} ({short_id(each.subject)})" for each in undone[:TOLD]]
    more = len(undone) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


def _approved(writing: Writing | None, until_ms: int | None) -> list[str]:
    """The newest approvals that would count no more, a line for each, with their times."""
    if writing is None or until_ms is None or not writing.undone:
        return []
    gone = [each for each in writing.approved if each.counts and each.time_ms > until_ms]
    lines = [f"{date_time(each.time_ms)}  {each.kind} of {safe(each.name)}" for each in gone[-TOLD:]]
    return [f"it has approved {len(gone):,} that would not count any more, by its own clock:", *lines]
