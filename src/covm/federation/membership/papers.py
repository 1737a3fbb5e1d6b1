"""Files that are carried from one machine to another: an identity, a charter to be signed. Rules: no I/O.

A paper is JSON, so that people can look at it; envelopes in it are base64. Nothing in one is secret, and nothing in one
is believed: what counts are the signatures.

    identity   entries: the identity log of a member, from its inception on
    charter    charter: the bytes that each founder signs · signatures · identities: the founders' logs
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from covm.federation.identity.charter import Charter, SignedCharter, decode_charter, open_charter
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.update import SignedUpdate, member_of, open_updates
from covm.federation.wire.limits import MAX_FOUNDERS, MAX_IDENTITY_DEPTH
from covm.federation.wire.malformed import Malformed

P = TypeVar("P")

PAPER_VERSION: Final = 1

MAX_PAPER: Final = 64 * 1024 * 1024
"""Bytes of a paper: the longest identity logs of some founders."""

_Entries = Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MAX_IDENTITY_DEPTH)]


class IdentityPaper(msgspec.Struct, frozen=True, kw_only=True):
    """A member's identity log."""

    covm: Literal["identity"] = "identity"
    v: Literal[1] = PAPER_VERSION
    name: str = ""
    """For people; what counts is in the log."""
    entries: _Entries


class CharterPaper(msgspec.Struct, frozen=True, kw_only=True):
    """A charter on its way round its founders."""

    covm: Literal["charter"] = "charter"
    v: Literal[1] = PAPER_VERSION
    name: str = ""
    """For people; what counts is in the charter."""
    charter: bytes
    signatures: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=MAX_FOUNDERS)]
    identities: Annotated[tuple[_Entries, ...], msgspec.Meta(min_length=1, max_length=MAX_FOUNDERS)]


def write_paper(paper: IdentityPaper | CharterPaper) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(paper), indent=2) + b"\n"


def read_identity(data: bytes) -> list[SignedUpdate]:
    """The entries in an identity paper, in order. Raises `ValueError`, saying what is wrong."""
    paper = _read(data, IdentityPaper, "an identity")
    return whole_log(paper.entries)


def identity_paper(updates: Iterable[SignedUpdate], name: str) -> IdentityPaper:
    """A member's identity log, to be carried."""
    return IdentityPaper(name=name, entries=tuple(update.envelope for update in updates))


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
    logs = tuple(update for entries in paper.identities for update in whole_log(entries))
    return OpenedCharter(charter=charter, signed=signed, logs=logs, paper=paper)


def whole_log(envelopes: Sequence[bytes]) -> list[SignedUpdate]:
    """The entries of one identity log, in order. Raises `ValueError` where it is not whole."""
    opened = open_updates(envelopes)
    entries = [each for each in opened if not isinstance(each, Malformed)]
    if len(entries) != len(opened):
        raise ValueError("an entry of the identity log does not verify: the file was altered or damaged")
    log = IdentityLog(member_of(entries[0]))
    for entry in entries:
        log.add(entry)
    if len(log) != len(entries):
        raise ValueError("the identity log is not one log from its inception on")
    return entries


def _read(data: bytes, kind: type[P], what: str) -> P:
    if len(data) > MAX_PAPER:
        raise ValueError(f"the file is larger than {MAX_PAPER:,} bytes, and no paper of covm's")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the file is not {what} as covm writes it: {error}") from None
