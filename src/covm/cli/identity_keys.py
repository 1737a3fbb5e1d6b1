"""`covm identity rotate` and `recover`: a member's keys change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from covm.cli.federation_errors import as_failures
from covm.cli.member_signing import RECOVERED, ROTATED, Signing, drafted, signing
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control.failures import Invalid
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.federation.identity.member import MemberNode


class Changed(Versioned, kw_only=True, frozen=True):
    """A member whose key is another now."""

    member: str
    name: str
    op: str
    seq: int
    """The number of the entry that says so."""
    key: str
    """The peer id of the key that signs for the member now."""
    undone: list[str]
    """Nodes that the member had and has no more, by peer id: they were added behind the entry that this follows."""
    finished: bool
    """The entry was published before, and its keys are taken over only now."""
    file: str
    """The identity with the entry, to be imported where a node of the member runs; empty where it is there."""


def rotate(
    *,
    after: int | None = None,
    keys: Path | None = None,
    file: Path | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Let the next key sign for the member from now on. What was signed before stays; a new next key is made.

    Do it when the key may have been copied, or from time to time. It needs next.key, and leaves recovery.key alone.

    Parameters
    ----------
    after
        The last entry that is your own, by its number in `covm identity log`: what came behind it is undone. Without
        it, the newest in force.
    keys
        The folder with the member's keys; without it, member in the home.
    file
        The identity, from `covm identity export`: the log is read from this file and written to it, and no node and no
        home is touched. Then carry it back: `covm identity import`.
    passphrase_file
        The passphrase of the member's keys, if they are encrypted, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.federation.identity.commitments import commitment
    from covm.federation.identity.drafts import draft_rotation

    work = signing(common, keys, file, passphrase_file)
    if work.finish() == ROTATED:
        _tell(work, ROTATED, {}, common, finished=True)
        return
    state, ids = work.behind(after), work.keys.ids
    if "next" not in ids:
        raise Invalid(
            f"there is no next.key in {work.folder}; bring it there, or `covm identity recover`", code="no_key"
        )
    if commitment(ids["next"]) != state.next:
        name = work.file_of(work.head.key)
        why = work.mismatch(name) if name != "current" else f"the log did not commit to next.key in {work.folder}"
        raise Invalid(why, code="other_keys")
    before = work.head.nodes
    with as_failures():
        following, now = work.keys.prepare_next(), work.keys.next
    assert now is not None  # noqa: S101 - it was there a moment ago
    work.publish(drafted(lambda: draft_rotation(state, key=now.peer_id, next_key=following.peer_id)), now)
    with as_failures():
        work.keys.rotated(work.head.key)
    _tell(work, ROTATED, before, common)


def recover(
    *,
    after: int | None = None,
    recovery_key: Path | None = None,
    keys: Path | None = None,
    file: Path | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Give the member new keys with its recovery key, whatever happened to those that it had.

    It undoes what a thief signed, a rotation too. The recovery key is used up, and a new one is made: move recovery.key
    to another place afterwards.

    Parameters
    ----------
    after
        The last entry that is your own, by its number in `covm identity log`: what came behind it is undone. Without
        it, the newest in force.
    recovery_key
        The recovery key, where it does not lie among the member's keys.
    keys
        The folder for the member's keys; without it, member in the home. With --recovery-key it need not be there yet.
    file
        The identity, from `covm identity export`: the log is read from this file and written to it, and no node and no
        home is touched. Then carry it back: `covm identity import`.
    passphrase_file
        The passphrase of the member's keys, if they are encrypted, is the first line of this file.
        COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.federation.identity.commitments import commitment
    from covm.federation.identity.drafts import draft_recovery

    work = signing(common, keys, file, passphrase_file, recovery_key)
    if work.finish() == RECOVERED:
        _tell(work, RECOVERED, {}, common, finished=True)
        return
    state = work.behind(after)
    with as_failures():
        recovery = work.recovery or work.keys.recovery
    if recovery is None:
        raise Invalid(f"there is no recovery.key in {work.folder}; bring it with --recovery-key FILE", code="no_key")
    if commitment(recovery.peer_id) != state.recovery:
        raise Invalid(
            f"the recovery key {recovery.peer_id} is not the one that the log has committed to by entry {state.seq}: "
            "it is another member's, or was used already",
            code="other_keys",
        )
    before = work.head.nodes
    with as_failures():
        new = work.keys.prepare_recovery()
    work.publish(
        drafted(
            lambda: draft_recovery(
                state,
                recovery_key=recovery.peer_id,
                key=new.current.peer_id,
                next_key=new.next.peer_id,
                next_recovery_key=new.recovery.peer_id,
            )
        ),
        recovery,
    )
    with as_failures():
        work.keys.recovered(work.head.key)
    _tell(work, RECOVERED, before, common)


def _tell(work: Signing, op: str, before: Mapping[str, MemberNode], common: Common, *, finished: bool = False) -> None:
    head, file = work.head, work.source.file
    undone = {peer: node for peer, node in before.items() if peer not in head.nodes}
    if common.json:
        say_json(
            Changed(
                member=str(head.member),
                name=head.name,
                op=op,
                seq=head.seq,
                key=head.key,
                undone=list(undone),
                finished=finished,
                file=file,
            )
        )
        return
    what = "rotated" if op == ROTATED else "recovered"
    interrupted = ", which was interrupted" if finished else ""
    say(f"{what} the key of {safe(head.name)} by entry {head.seq}{interrupted}: it is {head.key} now")
    for peer, node in undone.items():
        say(f"undone: the node {safe(node.name)} {peer} is not the member's any more")
    if op == RECOVERED:
        say(f"the recovery key is used up: move {safe(work.folder / 'recovery.key')}, the new one, to another place")
    if file:
        say(f"next: covm identity import {safe(file)} where a node of the member runs")
