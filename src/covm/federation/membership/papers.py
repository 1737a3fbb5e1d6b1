"""Files that are carried from one machine to another: an identity, a charter to be signed. Rules: no I/O.

A paper is JSON, so that people can look at it; envelopes in it are base64. Nothing in one is secret, and nothing in one
is believed: what counts are the signatures.

    identity   entries: the identity log of a member, from its inception on · federation, charter, addresses: where the
               member takes part, so that a new node of it finds the others; empty when it does nowhere
    node       node: a peer id · name · member: whose it wants to be · consent: an envelope
    charter    charter: the bytes that each founder signs · signatures · identities: the founders' logs
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from covm import _native
from covm.federation.identity.charter import Charter, SignedCharter, decode_charter, open_charter, unsigned
from covm.federation.identity.consent import open_consents, seal_consent
from covm.federation.identity.log import MAX_HELD, IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.identity.names import check_name
from covm.federation.identity.update import MAX_CONSENT, NodeEntry, SignedUpdate, member_of, open_updates
from covm.federation.membership.invites import MAX_LINK_ADDRESSES
from covm.federation.wire.limits import MAX_FOUNDERS
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import MAX_JOIN_BYTES

P = TypeVar("P")

PAPER_VERSION: Final = 1

MAX_PAPER: Final = 64 * 1024 * 1024
"""Bytes of a paper: the longest identity logs of some founders."""

_Entries = Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MAX_HELD)]


class IdentityPaper(msgspec.Struct, frozen=True, kw_only=True):
    """A member's identity log."""

    covm: Literal["identity"] = "identity"
    v: Literal[1] = PAPER_VERSION
    name: str = ""
    """For people; what counts is in the log."""
    entries: _Entries
    """Losing branches and all."""
    federation: str = ""
    """The id of the federation that the member's nodes take part in, for those that are new."""
    charter: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=MAX_FOUNDERS)] = ()
    addresses: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_LINK_ADDRESSES)] = ()
    """Where a node of it is reached."""


class NodePaper(msgspec.Struct, frozen=True, kw_only=True):
    """A node asks to be one of a member's."""

    covm: Literal["node"] = "node"
    v: Literal[1] = PAPER_VERSION
    node: str
    name: str
    member: str
    consent: Annotated[bytes, msgspec.Meta(max_length=MAX_CONSENT)]


class CharterPaper(msgspec.Struct, frozen=True, kw_only=True):
    """A charter on its way round its founders."""

    covm: Literal["charter"] = "charter"
    v: Literal[1] = PAPER_VERSION
    name: str = ""
    """For people; what counts is in the charter."""
    charter: bytes
    signatures: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=MAX_FOUNDERS)]
    identities: Annotated[tuple[_Entries, ...], msgspec.Meta(min_length=1, max_length=MAX_FOUNDERS)]


Paper = IdentityPaper | NodePaper | CharterPaper


def write_paper(paper: Paper) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(paper), indent=2) + b"\n"


class _Kind(msgspec.Struct, frozen=True):
    covm: str


def kind_of(data: bytes) -> str:
    """What kind of paper a file says that it is; empty for what is none."""
    try:
        return msgspec.json.decode(data, type=_Kind).covm
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def read_identity(data: bytes) -> list[SignedUpdate]:
    """The entries in an identity paper, in order. Raises `ValueError`, saying what is wrong."""
    return list(open_identity(data)[1].held())


def open_identity(data: bytes) -> tuple[IdentityPaper, IdentityLog]:
    """An identity paper, and the log in it. Raises `ValueError`."""
    paper = _read(data, IdentityPaper, "an identity")
    return paper, whole_log(paper.entries)


def identity_paper(
    updates: Iterable[SignedUpdate], name: str, charter: SignedCharter | None = None, addresses: Iterable[str] = ()
) -> IdentityPaper:
    """A member's identity log, to be carried; with the charter of its federation, and where that is found."""
    return IdentityPaper(
        name=name,
        entries=tuple(update.envelope for update in updates),
        federation="" if charter is None else str(charter.id),
        charter=() if charter is None else charter.envelopes,
        addresses=tuple(addresses)[:MAX_LINK_ADDRESSES],
    )


def federation_in(paper: IdentityPaper) -> SignedCharter | None:
    """The charter of the federation that an identity paper names; None when it names none. Raises `ValueError`."""
    if not paper.federation:
        return None
    try:
        charter = open_charter(paper.charter)
    except Malformed as error:
        raise ValueError(error.reason) from None
    if str(charter.id) != paper.federation:
        raise ValueError("the charter in it is of another federation than the one that it names")
    if unsigned(charter):
        raise ValueError("the charter in it is not signed by all founders")
    return charter


def node_paper(node: _native.Keypair, name: str, member: MemberState) -> NodePaper:
    """A node's request to be the member's, with its consent. Raises `ValueError` for what can be no name."""
    return NodePaper(
        node=node.peer_id,
        name=check_name(name, "the node's name"),
        member=str(member.member),
        consent=seal_consent(node, member.first_key),
    )


def read_node(data: bytes, member: MemberState, *, approver: bool) -> NodeEntry:
    """The node that asks in a paper, as this member's log will have it. Raises `ValueError`, saying what is wrong."""
    paper = _read(data, NodePaper, "a node's request")
    [consent] = open_consents([paper.consent])
    if isinstance(consent, Malformed) or consent.author != paper.node:
        raise ValueError("the node's consent does not verify: the file was altered or damaged")
    if paper.member != str(member.member) or consent.body.member_key != member.first_key:
        raise ValueError(f"the node asks to be of another member than {member.name}")
    return NodeEntry(
        node=paper.node, name=check_name(paper.name, "the node's name"), approver=approver, consent=paper.consent
    )


def charter_paper(charter: bytes, name: str, logs: Iterable[Sequence[SignedUpdate]]) -> CharterPaper:
    """A charter that nobody has signed yet."""
    entries = tuple(tuple(update.envelope for update in log) for log in logs)
    return CharterPaper(name=name, charter=charter, signatures=(), identities=entries)


class OpenedCharter(msgspec.Struct, frozen=True, kw_only=True):
    """What a charter paper says, its signatures verified."""

    charter: Charter
    signed: SignedCharter | None
    """None while nobody has signed."""
    logs: tuple[SignedUpdate, ...]
    paper: CharterPaper

    def with_signature(self, envelope: bytes) -> CharterPaper:
        """The paper with one signature more."""
        signatures = dict.fromkeys((*self.paper.signatures, envelope))
        return msgspec.structs.replace(self.paper, signatures=tuple(signatures))


def read_charter(data: bytes) -> OpenedCharter:
    """A charter paper. Raises `ValueError`, saying what is wrong."""
    paper = _read(data, CharterPaper, "a charter")
    try:
        charter = decode_charter(paper.charter)
        signed = open_charter(paper.signatures) if paper.signatures else None
    except Malformed as error:
        raise ValueError(error.reason) from None
    if signed is not None and signed.charter != charter:
        raise ValueError("the signatures are of another charter than the one that it shows")
    logs = tuple(update for entries in paper.identities for update in whole_log(entries).held())
    return OpenedCharter(charter=charter, signed=signed, logs=logs, paper=paper)


def whole_log(envelopes: Sequence[bytes]) -> IdentityLog:
    """The one identity log that these entries are, in whatever order they came. Raises `ValueError` where it is not."""
    opened = open_updates(envelopes)
    entries = [each for each in opened if not isinstance(each, Malformed)]
    if len(entries) != len(opened):
        raise ValueError("an entry of the identity log does not verify: it was altered or damaged")
    log = IdentityLog(member_of(entries[0]))
    for entry in entries:
        log.add(entry)
    if len(log) != len(entries):
        raise ValueError("the identity log is not one log from its inception on")
    return log


def log_shown(entries: Sequence[bytes], peer: str) -> IdentityLog | str:
    """The identity log of who knocks; or why it is none of its, as it is told."""
    if sum(map(len, entries)) > MAX_JOIN_BYTES:
        return "your identity log is too long to be shown at the door"
    try:
        log = whole_log(entries)
    except ValueError as error:
        return f"you show no identity log: {error}"
    if log.head is None or peer not in log.head.nodes:
        return "you are no node of the member whose identity log you show"
    return log


def _read(data: bytes, kind: type[P], what: str) -> P:
    if len(data) > MAX_PAPER:
        raise ValueError(f"the file is larger than {MAX_PAPER:,} bytes, and no paper of covm's")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the file is not {what} as covm writes it: {error}") from None
