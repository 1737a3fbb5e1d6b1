"""Where the identity log of a member is read from and written to: a file, the node that runs, or its home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from covm.cli import paper_files
from covm.cli.home_work import at_home
from covm.cli.options import Common
from covm.control.client import ControlClient
from covm.control.failures import Invalid, NoNode, NotFound
from covm.control.home import key_path

if TYPE_CHECKING:
    from covm._native import Link
    from covm.daemon.home_key import HomeKeys
    from covm.federation.identity.charter import SignedCharter
    from covm.federation.identity.log import IdentityLog
    from covm.federation.identity.update import SignedUpdate
    from covm.federation.membership.papers import IdentityPaper
    from covm.federation.membership.undoing import Writing

NO_MEMBER: Final = "this node is of no member yet: create or join a federation, or `covm identity export`"

BAD: Final = "bad_identity"
"""The code of what is wrong with entries."""

NOTHING: Final = -1
"""A time up to which nobody has written anything: clocks begin at 0."""

GIVEN_BYTES: Final = 1024 * 1024
"""Bytes of entries that a node is given at once: with base64 they fit into a request."""


class Source(Protocol):
    """A place that has a member's identity log."""

    @property
    def file(self) -> str:
        """The file that it is; empty for a node and its home."""

    @property
    def own_node(self) -> str | None:
        """The node whose home it is."""

    def log(self) -> IdentityLog:
        """The log. Raises `NotFound` where there is no member."""

    def keep(self, log: IdentityLog) -> None:
        """Brings the log back there, with what is new in it; on return that is on disk."""

    def written_by(self, node: str, until_ms: int | None = None) -> Writing | None:
        """What a node has written up to a time, and what would be otherwise without the rest.

        None where nobody knows, and nothing is to be kept. Raises `Invalid` where what is to be kept is not known.
        """

    @property
    def may_approve(self) -> bool:
        """Whether what the member's nodes approve may count, as far as is known here: it may be a founder."""


class InFile:
    """An identity paper, which is written again with each entry."""

    own_node = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._paper: IdentityPaper
        self._member: Link

    @property
    def file(self) -> str:
        return str(self._path)

    def log(self) -> IdentityLog:
        from covm.federation.membership.papers import open_identity

        self._paper, log = paper_files.read(self._path, open_identity)
        self._member = log.member
        return log

    def keep(self, log: IdentityLog) -> None:
        import msgspec

        name = log.head.name if log.head is not None else self._paper.name
        entries = tuple(each.envelope for each in log.held())
        paper_files.write(self._path, msgspec.structs.replace(self._paper, name=name, entries=entries))

    def written_by(self, node: str, until_ms: int | None = None) -> Writing | None:
        del node
        if until_ms == NOTHING:
            return None
        raise Invalid(
            "a file does not tell what the node has written, and that would not count any more: remove it without "
            "--file where a node of this member runs, with --keys FOLDER; or, if its key was stolen and nothing of it "
            "is to count, give --nothing-of-it-counts",
            code="no_record",
        )

    @property
    def may_approve(self) -> bool:
        from covm.federation.membership.papers import federation_in

        try:
            charter = federation_in(self._paper)
        except ValueError as error:
            raise Invalid(f"{self._path}: {error}", code="bad_file") from error
        return charter is None or self._member in charter.charter.electors


class AtNode:
    """The node that runs on the home, or else the home itself."""

    file = ""
    may_approve = True

    def __init__(self, common: Common, keys: HomeKeys) -> None:
        self._common = common
        self._keys = keys

    @property
    def own_node(self) -> str | None:
        return self._keys.peer_id

    def log(self) -> IdentityLog:
        from covm.federation.membership.papers import whole_log

        try:
            return whole_log(ControlClient(self._common.folder).identity().entries)
        except NoNode:
            pass
        log = at_home(self._common, self._keys, lambda home: home.own_log(), BAD) if has_begun(self._common) else None
        if log is None or log.head is None:
            raise NotFound(NO_MEMBER, code="no_member")
        return log

    def keep(self, log: IdentityLog) -> None:
        self.take(list(log.held()))

    def take(self, updates: Sequence[SignedUpdate], federation: SignedCharter | None = None) -> bool:
        """Gives entries to the node, or else to its home, which becomes one of the federation if it is of none.

        Whether the home is of that federation now; a node that runs has one.
        """
        client = ControlClient(self._common.folder)
        try:
            known = set(client.identity().entries)
            for some in _pieces([each.envelope for each in updates if each.envelope not in known]):
                client.take_identity(some)
        except NoNode:
            return at_home(self._common, self._keys, lambda home: home.take_identity(updates, federation), BAD)
        return False

    def written_by(self, node: str, until_ms: int | None = None) -> Writing:
        from covm._native import Link
        from covm.federation.membership.undoing import Approved, Undone, Writing
        from covm.federation.wire.record import Place

        try:
            found = ControlClient(self._common.folder).written_by(node, until_ms)
        except NoNode:
            return at_home(self._common, self._keys, lambda home: home.written_by(node, until_ms), BAD)
        return Writing(
            places=tuple(Place(Link(each.log), each.seq, Link(each.id)) for each in found.places),
            approved=tuple(
                Approved(
                    node=each.node,
                    kind=each.kind,
                    subject=each.subject,
                    name=each.name,
                    time_ms=each.time,
                    counts=each.counts,
                    why=each.why,
                )
                for each in found.approved
            ),
            undone=tuple(Undone(kind=each.kind, subject=each.subject, name=each.name) for each in found.undone),
            records=found.records,
        )


def has_begun(common: Common) -> bool:
    """Whether anything is in the home: without that, looking makes nothing."""
    from covm.federation.store import has_store

    return key_path(common.folder).exists() or has_store(common.folder)


def _pieces(envelopes: Sequence[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size_bytes = 0
    for each in envelopes:
        if piece and size_bytes + len(each) > GIVEN_BYTES:
            yield piece
            piece, size_bytes = [], 0
        piece.append(each)
        size_bytes += len(each)
    if piece:
        yield piece
