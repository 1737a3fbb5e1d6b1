"""`Identity.Update`: one signed entry of a member's identity log.

An entry is a canonical DAG-CBOR map, sealed by a key of the member in an envelope of the kind `/covm/identity`:

    v            1
    op           inception, add_node, remove_node, rotate, recover or profile
    author       text: the peer id of the key that signed it
    member       link or null: the member's id, which is the id of the inception; null exactly in the inception
    seq          integer: 1 in the inception, one more in each entry behind another
    prev         link or null: the entry before it; null exactly in the inception

and by `op`:

    inception    name · next, recovery: commitments · nodes: list, sorted by node, 1 to 64
    add_node     node: a map of node (peer id), name, approver (may approve for the member) and consent (an envelope)
    remove_node  node: its peer id · cut: up to where each of its logs still counts
    rotate       next: the commitment that takes the place of the one that is used up
    recover      key: the peer id of the new key · next, recovery: commitments
    profile      name

The member's key signs add_node, remove_node and profile; the key behind `next` signs a rotate and is the member's key
from there; the key behind `recovery` signs a recover and is used up. See `commitments` and `consent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from covm import _native
from covm.federation.identity.consent import open_consents
from covm.federation.identity.cuts import Cut, cut_problem
from covm.federation.identity.names import name_problem
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import DIGEST_SIZE, MAX_CUT, MAX_IDENTITY_DEPTH, MAX_NAME, MAX_NODES
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.signed import PeerId, Signed, in_order, is_peer_id, open_all, read_map, seal, write_map

UPDATE_VERSION: Final = 1

MAX_CONSENT: Final = 512
"""Bytes of a consent's envelope: two peer ids, a key, a signature."""

_Commitment = Annotated[bytes, msgspec.Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
_Cut = Annotated[Cut, msgspec.Meta(max_length=MAX_CUT)]


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A node as its member presents it."""

    node: PeerId
    name: _Name
    approver: bool
    """Whether it may approve credentials for its member, where that one is an elector."""
    consent: Annotated[bytes, msgspec.Meta(max_length=MAX_CONSENT)]
    """The envelope in which the node says so too; see `consent`."""


class _Update(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", gc=False):
    """What every entry has."""

    author: PeerId
    member: _native.Link | None
    seq: Annotated[int, msgspec.Meta(ge=1, le=MAX_IDENTITY_DEPTH)]
    prev: _native.Link | None
    v: int = UPDATE_VERSION


class Inception(_Update, frozen=True, kw_only=True, tag="inception"):
    """A member begins. `author` is its first key."""

    name: _Name
    next: _Commitment
    recovery: _Commitment
    nodes: Annotated[tuple[NodeEntry, ...], msgspec.Meta(min_length=1, max_length=MAX_NODES)]


class AddNode(_Update, frozen=True, kw_only=True, tag="add_node"):
    """One node more."""

    node: NodeEntry


class RemoveNode(_Update, frozen=True, kw_only=True, tag="remove_node"):
    """A node is the member's no longer, and what it wrote counts within the cut."""

    node: PeerId
    cut: _Cut


class Rotate(_Update, frozen=True, kw_only=True, tag="rotate"):
    """`author` is the member's key from here."""

    next: _Commitment


class Recover(_Update, frozen=True, kw_only=True, tag="recover"):
    """`key` is the member's key from here, whatever happened to the one before; `author` is the recovery key."""

    key: PeerId
    next: _Commitment
    recovery: _Commitment


class Profile(_Update, frozen=True, kw_only=True, tag="profile"):
    """The member is called otherwise."""

    name: _Name


Update = Inception | AddNode | RemoveNode | Rotate | Recover | Profile


class SignedUpdate(Signed[Update], frozen=True, gc=False):
    """An entry whose signature holds, and whose nodes have consented."""

    consented: str | None = None
    """The first key of the member that all its nodes consented to belong to; None in an entry that adds none."""


def encode_update(update: Update) -> bytes:
    """The entry's bytes, ready to be sealed. Raises `ValueError` for what `decode_update` would refuse."""
    data = write_map(update)
    try:
        decode_update(data)
    except Malformed as error:
        raise ValueError(error.reason) from None
    return data


def seal_update(key: _native.Keypair, update: Update) -> bytes:
    """The entry's envelope. Raises `ValueError`, also for a key that is not the one that the entry names."""
    if key.peer_id != update.author:
        raise ValueError(f"the entry names {update.author} as its author, and the key is that of {key.peer_id}")
    return seal(key, Kind.IDENTITY, encode_update(update))


def decode_update(data: bytes) -> Update:
    """The entry in these bytes. Raises `Malformed`. Whether it has a place in its log is for `IdentityLog` to say."""
    update: Update = read_map(data, Update, "the identity entry", UPDATE_VERSION)
    if (problem := _contradiction(update)) is not None:
        raise Malformed(f"the identity entry {problem}")
    return update


def open_updates(envelopes: Sequence[bytes]) -> list[SignedUpdate | Malformed]:
    """The entry in each envelope, its signatures and those of its nodes' consents verified in two batches.

    `Malformed` stands in the place of what does not verify or does not fit.
    """
    opened = open_all(Kind.IDENTITY, envelopes, decode_update, lambda update: update.author)
    nodes = [[] if isinstance(each, Malformed) else nodes_of(each.body) for each in opened]
    consents = iter(open_consents([entry.consent for entries in nodes for entry in entries]))
    return [
        _with_consents(each, [(entry, next(consents)) for entry in entries])
        for each, entries in zip(opened, nodes, strict=True)
    ]


def member_of(update: Signed[Any]) -> _native.Link:
    """The id of the member in whose log an entry belongs."""
    member: _native.Link | None = update.body.member
    return update.id if member is None else member


def nodes_of(update: Update) -> Sequence[NodeEntry]:
    """The nodes that an entry adds."""
    if isinstance(update, Inception):
        return update.nodes
    return (update.node,) if isinstance(update, AddNode) else ()


def _with_consents(
    opened: Signed[Update] | Malformed, consents: Sequence[tuple[NodeEntry, Any]]
) -> SignedUpdate | Malformed:
    if isinstance(opened, Malformed):
        return opened
    keys: set[str] = set()
    for entry, consent in consents:
        if isinstance(consent, Malformed) or consent.author != entry.node:
            return Malformed(f"node {entry.node} has not consented to be the member's")
        keys.add(consent.body.member_key)
    if len(keys) > 1:
        return Malformed("its nodes have consented to be of different members")
    return SignedUpdate(opened.id, opened.author, opened.body, opened.envelope, next(iter(keys), None))


def _contradiction(update: Update) -> str | None:
    first = isinstance(update, Inception)
    if first != (update.member is None) or first != (update.prev is None) or first != (update.seq == 1):
        return "is an inception with something before it, or no inception with nothing before it"
    if isinstance(update, RemoveNode):
        problem = cut_problem(update.cut)
        return problem and f"has a cut that {problem}"
    if isinstance(update, Recover) and not is_peer_id(update.key):
        return "names a key that is no peer id"
    if isinstance(update, Inception | Profile) and (problem := name_problem(update.name)):
        return f"has a name that {problem}"
    nodes = nodes_of(update)
    if not in_order(nodes, lambda entry: entry.node):
        return "has a node twice, or its nodes are not in order"
    return next((why for entry in nodes if (why := _node_problem(entry)) is not None), None)


def _node_problem(entry: NodeEntry) -> str | None:
    problem = name_problem(entry.name)
    return problem and f"has a node whose name {problem}"
