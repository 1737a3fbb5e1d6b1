"""A member as its identity log has it at one entry, and what each entry makes of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from covm import _native
from covm.federation.identity.commitments import commitment
from covm.federation.identity.cuts import Cut
from covm.federation.identity.update import (
    AddNode,
    Inception,
    NodeEntry,
    Profile,
    Recover,
    RemoveNode,
    Rotate,
    SignedUpdate,
)
from covm.federation.wire.limits import MAX_IDENTITY_BYTES, MAX_IDENTITY_DEPTH, MAX_NODES


class MemberNode(msgspec.Struct, frozen=True, gc=False):
    """One of a member's nodes."""

    name: str
    approver: bool
    since: int
    """`seq` of the entry that added it."""


class NodeRemoval(msgspec.Struct, frozen=True):
    """A node that was removed; it may have been added again since."""

    node: str
    seq: int
    """`seq` of the entry that removed it: the cut binds what was begun before."""
    cut: Cut


class MemberState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a member is at one entry of its log. A value: entries make new ones."""

    member: _native.Link
    entry: _native.Link
    """The entry that it stands at."""
    seq: int
    name: str
    key: str
    """Peer id of the key that signs for the member."""
    first_key: str
    """The key that signed the inception: what nodes consent to."""
    next: bytes
    """Commitment to the key that will follow by a `rotate`."""
    recovery: bytes
    """Commitment to the key that can `recover`."""
    size_bytes: int
    """Envelopes of the entries up to here; rotations and recoveries do not count, so that they always fit."""
    nodes: Mapping[str, MemberNode]
    removals: tuple[NodeRemoval, ...] = ()


def begin(update: SignedUpdate) -> MemberState | str:
    """The member that an inception makes, or why it makes none."""
    body = update.body
    if not isinstance(body, Inception):
        return "a log begins with an inception"
    if update.consented != update.author:
        return "its nodes have consented to be of another member"
    if why := _commitments_problem(body.next, body.recovery, update.author):
        return why
    return MemberState(
        member=update.id,
        entry=update.id,
        seq=1,
        name=body.name,
        key=update.author,
        first_key=update.author,
        next=body.next,
        recovery=body.recovery,
        size_bytes=len(update.envelope),
        nodes={entry.node: _node(entry, 1) for entry in body.nodes},
    )


def advance(state: MemberState, update: SignedUpdate) -> MemberState | str:
    """The member after one entry more, or why the entry cannot follow there, whatever else arrives."""
    body = update.body
    if body.member != state.member or body.prev != state.entry or body.seq != state.seq + 1:
        return "its member, number or predecessor contradict each other"
    if body.seq > MAX_IDENTITY_DEPTH:
        return f"a log has at most {MAX_IDENTITY_DEPTH:,} entries behind one another"
    if (why := _wrong_key(state, update)) is not None:
        return why
    size_bytes = state.size_bytes + (0 if isinstance(body, Rotate | Recover) else len(update.envelope))
    if size_bytes > MAX_IDENTITY_BYTES:
        return f"a log has at most {MAX_IDENTITY_BYTES:,} bytes of entries behind one another"
    changes = _changes(state, update)
    if isinstance(changes, str):
        return changes
    return msgspec.structs.replace(state, entry=update.id, seq=body.seq, size_bytes=size_bytes, **changes)


def _wrong_key(state: MemberState, update: SignedUpdate) -> str | None:
    match update.body:
        case Rotate():
            if commitment(update.author) != state.next:
                return "a rotation is signed by the key whose hash the log committed to, and this is another"
        case Recover():
            if commitment(update.author) != state.recovery:
                return "a recovery is signed by the recovery key that the log committed to, and this is another"
        case _:
            if update.author != state.key:
                return "it is signed by a key that is not the member's at this place"
    return None


def _changes(state: MemberState, update: SignedUpdate) -> dict[str, object] | str:
    match update.body:
        case AddNode(node=entry):
            return _added(state, update, entry)
        case RemoveNode(node=node, cut=cut):
            if node not in state.nodes:
                return "it removes a node that the member does not have"
            left = {peer: known for peer, known in state.nodes.items() if peer != node}
            return {"nodes": left, "removals": (*state.removals, NodeRemoval(node, update.body.seq, cut))}
        case Rotate(next=next):
            if why := _commitments_problem(next, state.recovery, update.author):
                return why
            return {"key": update.author, "next": next}
        case Recover(key=key, next=next, recovery=recovery):
            if recovery == state.recovery:
                return "it commits to the recovery key that it uses up"
            if why := _commitments_problem(next, recovery, key):
                return why
            return {"key": key, "next": next, "recovery": recovery}
        case Profile(name=name):
            return {"name": name}
        case _:
            return "an inception has nothing before it"


def _added(state: MemberState, update: SignedUpdate, entry: NodeEntry) -> dict[str, object] | str:
    if entry.node in state.nodes:
        return "it adds a node that the member has"
    if len(state.nodes) >= MAX_NODES:
        return f"a member has at most {MAX_NODES} nodes; remove one first"
    if update.consented != state.first_key:
        return "the node has consented to be of another member"
    return {"nodes": {**state.nodes, entry.node: _node(entry, update.body.seq)}}


def _commitments_problem(next: bytes, recovery: bytes, key: str) -> str | None:
    """A key that is in use, or does two things at once, protects nothing once it is stolen."""
    if next == recovery:
        return "it commits to one key for rotation and recovery"
    if commitment(key) in (next, recovery):
        return "it commits to the key that is in use"
    return None


def _node(entry: NodeEntry, seq: int) -> MemberNode:
    return MemberNode(entry.name, entry.approver, seq)
