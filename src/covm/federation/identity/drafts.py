"""Entries of an identity log as its member drafts them, to be sealed by the key that each names as its author.

A draft says at once what would be wrong with the entry, so that nobody signs, carries about or publishes one that every
node refuses. It needs no key: the member's keys may live on another machine, where the draft is sealed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from covm import _native
from covm.federation.identity.commitments import commitment
from covm.federation.identity.cuts import make_cut
from covm.federation.identity.member import MemberState, advance, begin
from covm.federation.identity.update import (
    AddNode,
    Inception,
    NodeEntry,
    Profile,
    Recover,
    RemoveNode,
    Rotate,
    SignedUpdate,
    Update,
    encode_update,
)
from covm.federation.wire.record import Place

U = TypeVar("U", bound=Update)


def draft_inception(name: str, key: str, *, next_key: str, recovery_key: str, nodes: Iterable[NodeEntry]) -> Inception:
    """A member begins. Keys are given by their peer ids; each node has consented to this first key.

    Raises `ValueError`, saying what is wrong.
    """
    update = Inception(
        author=key,
        member=None,
        seq=1,
        prev=None,
        name=name,
        next=commitment(next_key),
        recovery=commitment(recovery_key),
        nodes=tuple(sorted(nodes, key=lambda entry: entry.node)),
    )
    match begin(_as_if_signed(update, key)):
        case str(why):
            raise ValueError(f"this can be no inception: {why}")
    return update


def draft_rename(state: MemberState, name: str) -> Profile:
    """Another name. Raises `ValueError`, saying what is wrong."""
    return _fitting(state, Profile(**_behind(state, state.key), name=name))


def draft_add_node(state: MemberState, node: NodeEntry) -> AddNode:
    """One node more, which has consented. Raises `ValueError`, saying what is wrong."""
    return _fitting(state, AddNode(**_behind(state, state.key), node=node))


def draft_remove_node(state: MemberState, node: str, cut: Iterable[Place]) -> RemoveNode:
    """A node less, whose logs count up to the places of the cut. Raises `ValueError`, saying what is wrong."""
    return _fitting(state, RemoveNode(**_behind(state, state.key), node=node, cut=make_cut(cut)))


def trial_removal(state: MemberState, node: str, cut: Iterable[Place]) -> SignedUpdate:
    """The same as if it were signed, to see what would come of it. Raises `ValueError`, saying what is wrong."""
    return _as_if_signed(draft_remove_node(state, node, cut), state.first_key)


def draft_rotation(state: MemberState, *, key: str, next_key: str) -> Rotate:
    """The next key takes over and names the one after it. Raises `ValueError`, saying what is wrong."""
    return _fitting(state, Rotate(**_behind(state, key), next=commitment(next_key)))


def draft_recovery(
    state: MemberState, *, recovery_key: str, key: str, next_key: str, next_recovery_key: str
) -> Recover:
    """The recovery key gives the member new keys, and is used up.

    `state` is the last that is as it should be: `IdentityLog.at` the entry before a thief's first. What came behind it
    is undone. Raises `ValueError`, saying what is wrong.
    """
    return _fitting(
        state,
        Recover(
            **_behind(state, recovery_key),
            key=key,
            next=commitment(next_key),
            recovery=commitment(next_recovery_key),
        ),
    )


def _behind(state: MemberState, author: str) -> dict[str, Any]:
    return {"author": author, "member": state.member, "seq": state.seq + 1, "prev": state.entry}


def _fitting(state: MemberState, update: U) -> U:
    match advance(state, _as_if_signed(update, state.first_key)):
        case str(why):
            raise ValueError(f"the entry would have no place behind entry {state.seq}: {why}")
    return update


def _as_if_signed(update: Update, first_key: str) -> SignedUpdate:
    """The entry as it will be once its author has sealed it; whether its nodes consented shows when it is opened."""
    data = encode_update(update)
    return SignedUpdate(_native.cid(data), update.author, update, data, first_key)
