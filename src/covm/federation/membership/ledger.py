"""Everything that a node holds of its federation's membership, and what it comes to. Rules: no I/O, no clock.

What is taken, and whose: the identity logs of founders and of whom a credential names; credentials that a node of
somebody known proposes; approvals by nodes of electors. Everything else is turned away, so strangers cannot fill it.
The order in which things come does not matter: what builds on others is looked at again when those are there.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from covm import _native
from covm.federation.identity.approvals import ApprovalLogs
from covm.federation.identity.charter import SignedCharter, charter_verdict
from covm.federation.identity.credentials import (
    Admission,
    Removal,
    SignedCredential,
    TypeCredential,
    misfit,
    open_credentials,
)
from covm.federation.identity.identities import Identities
from covm.federation.identity.standing import Standing, judge
from covm.federation.identity.update import SignedUpdate, member_of, nodes_of, open_updates
from covm.federation.wire.limits import DIGEST_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import BUCKET_SIZE, BUCKETS, MembersGive
from covm.federation.wire.record import RecordHeader, SignedRecord, open_records

Item = SignedUpdate | SignedCredential | SignedRecord

MAX_ITEMS: Final = 500_000
"""Items of one membership: ten thousand members with fifty each."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""Bytes of their envelopes: a node holds all of them in memory."""

MAX_ASIDE: Final = 8192
"""Items that wait for what they build on."""

MAX_ASIDE_BYTES: Final = 16 * 1024 * 1024
"""Bytes of their envelopes."""

MAX_PROPOSALS: Final = 256
"""Credentials of one author that nobody has approved: what is beyond, by id, is let go."""


class Taken(msgspec.Struct, frozen=True):
    """What came of offering items: what is new, to be stored in this order; ids of what is let go."""

    new: tuple[Item, ...] = ()
    dropped: tuple[bytes, ...] = ()
    turned_away: int = 0


def item_id(item: Item) -> bytes:
    """The 32 bytes of hash in an item's CID."""
    return item.id.bytes[-DIGEST_SIZE:]


class Ledger:
    """Holds items; `standing` is what they come to."""

    def __init__(self, charter: SignedCharter) -> None:
        self.charter = charter
        self.federation = charter.id
        self.identities = Identities()
        self.credentials: dict[_native.Link, SignedCredential] = {}
        self.approvals = ApprovalLogs(self.federation)
        self._items: dict[bytes, Item] = {}
        self._size_bytes = 0
        self._buckets: list[set[bytes]] = [set() for _ in range(BUCKETS)]
        self._digests: list[bytes | None] = [None] * BUCKETS
        self._standing: Standing | None = None
        self._gone: list[bytes] = []
        self._aside: dict[bytes, Item] = {}
        """What belongs nowhere yet: in an exchange things come in the order of their ids."""
        self._nodes: set[str] = set()
        """Nodes that any entry which is held has added, whatever became of them: known, and no more than that."""
        self._elector_nodes: set[str] = set()
        self._subjects = {founder.member for founder in charter.charter.founders}
        self._electors = charter.charter.electors

    # --- what is held

    def take(self, items: Iterable[Item]) -> Taken:
        """Takes what belongs here. What is here already is neither new nor turned away."""
        fresh = {item_id(item): item for item in items if item_id(item) not in self._items}
        turned_away = len(fresh.keys() - self._aside.keys())
        waiting = [*self._aside.values(), *(item for key, item in fresh.items() if key not in self._aside)]
        new: list[Item] = []
        dropped: list[bytes] = []
        while waiting:
            left: list[Item] = []
            for item in waiting:
                placed = self._placed(item)
                if placed is None:
                    left.append(item)
                    continue
                for each in placed:
                    self._keep(each)
                    new.append(each)
            if len(left) == len(waiting):
                break
            waiting = left
        self._put_aside(waiting)
        turned_away -= sum(item_id(item) in fresh for item in new)
        if new:
            self._standing = None
            self._gone += self._surplus()
            dropped = self._let_go(self._gone)
            self._gone.clear()
        gone = set(dropped)
        return Taken(tuple(item for item in new if item_id(item) not in gone), tuple(dropped), max(0, turned_away))

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: bytes) -> bool:
        """Whether an item is here, with a place or waiting for what it builds on."""
        return key in self._items or key in self._aside

    def get(self, key: bytes) -> Item | None:
        """An item by the hash in its id."""
        return self._items.get(key)

    def items(self) -> Iterator[Item]:
        """Everything, each behind what it builds on."""
        return iter(self._items.values())

    # --- what it comes to

    @property
    def standing(self) -> Standing | None:
        """Who is in, and who may what; None before the charter counts, when nobody is anything."""
        if self._standing is None and charter_verdict(self.charter, self.identities).holds:
            self._standing = judge(
                self.federation, self.charter.charter, self.identities, self.credentials.values(), self.approvals
            )
        return self._standing

    # --- to compare with others

    def buckets(self) -> bytes:
        """The digests of all buckets, one behind the other."""
        for index, digest in enumerate(self._digests):
            if digest is None:
                hashed = hashlib.sha256(b"".join(sorted(self._buckets[index])))
                self._digests[index] = hashed.digest()[:BUCKET_SIZE]
        return b"".join(digest for digest in self._digests if digest is not None)

    @property
    def digest(self) -> bytes:
        """Equal digests, equal items."""
        return hashlib.sha256(self.buckets()).digest()

    def beyond(self, buckets: bytes, after: bytes | None, limit: int) -> tuple[list[bytes], bool]:
        """The next ids behind `after`, in order, in buckets whose digest is another; and whether there are more."""
        ours, first = self.buckets(), after[0] if after else 0
        found: list[bytes] = []
        for index in range(first, BUCKETS):
            place = slice(index * BUCKET_SIZE, (index + 1) * BUCKET_SIZE)
            if ours[place] == buckets[place]:
                continue
            found += [each for each in sorted(self._buckets[index]) if after is None or each > after]
            if len(found) > limit:
                return found[:limit], True
        return found, False

    # --- inside

    def _put_aside(self, items: Sequence[Item]) -> None:
        """Keeps the newest of them: whoever shows junk pushes out what is asked for again."""
        kept: list[Item] = []
        left = MAX_ASIDE_BYTES
        for item in reversed(items[-MAX_ASIDE:]):
            left -= len(item.envelope)
            if left < 0:
                break
            kept.append(item)
        self._aside = {item_id(item): item for item in reversed(kept)}

    def _placed(self, item: Item) -> Sequence[Item] | None:
        """What has its place now: nothing, if it can never have one; None while that is not known."""
        if len(self._items) >= MAX_ITEMS or self._size_bytes + len(item.envelope) > MAX_BYTES:
            return None
        body = item.body
        if isinstance(body, RecordHeader):
            if item.author not in self._elector_nodes:
                return None
            return self.approvals.add(item).placed  # type: ignore[arg-type]
        if isinstance(body, Admission | Removal | TypeCredential):
            return self._placed_credential(item)  # type: ignore[arg-type]
        return self._placed_update(item) if isinstance(item, SignedUpdate) else None

    def _placed_update(self, update: SignedUpdate) -> Sequence[Item] | None:
        member = member_of(update)
        if member not in self._subjects:
            return None
        placement = self.identities.add(update)
        for placed in placement.placed:
            nodes = {entry.node for entry in nodes_of(placed.body)}
            self._nodes |= nodes
            if member in self._electors:
                self._elector_nodes |= nodes
        self._gone += [link.bytes[-DIGEST_SIZE:] for link in placement.dropped]
        return placement.placed

    def _placed_credential(self, item: SignedCredential) -> Sequence[Item] | None:
        body = item.body
        if misfit(body, self.federation, self.charter.charter) is not None:
            return ()
        if item.author not in self._nodes:
            return None
        self.credentials[item.id] = item
        if isinstance(body, Admission | Removal):
            self._subjects.add(body.member)
        return (item,)

    def _keep(self, item: Item) -> None:
        key = item_id(item)
        self._items[key] = item
        self._size_bytes += len(item.envelope)
        self._buckets[key[0]].add(key)
        self._digests[key[0]] = None

    def _let_go(self, ids: Iterable[bytes]) -> list[bytes]:
        gone = []
        for key in ids:
            item = self._items.pop(key, None)
            if item is None:
                continue
            gone.append(key)
            self._size_bytes -= len(item.envelope)
            self._buckets[key[0]].discard(key)
            self._digests[key[0]] = None
            if self.credentials.pop(item.id, None) is not None:
                self._standing = None
        return gone

    def _surplus(self) -> list[bytes]:
        """Proposals of authors that made too many which nobody approved: those with the highest ids."""
        made = Counter(each.author for each in self.credentials.values())
        standing = self.standing
        if standing is None or all(count <= MAX_PROPOSALS for count in made.values()):
            return []
        open_by: dict[str, list[bytes]] = {}
        for credential in self.credentials.values():
            if not standing.approvers(credential.id):
                open_by.setdefault(credential.author, []).append(item_id(credential))
        return [each for ids in open_by.values() for each in sorted(ids)[MAX_PROPOSALS:]]


def opened_items(give: MembersGive) -> list[Item | Malformed]:
    """What the envelopes in a frame hold; `Malformed` in the place of what does not verify or does not fit."""
    return [
        *open_updates(give.entries),
        *open_credentials(give.credentials),
        *open_records(give.approvals),
    ]


def give_of(items: Iterable[Item]) -> MembersGive:
    """Items as a frame carries them."""
    entries: list[bytes] = []
    credentials: list[bytes] = []
    approvals: list[bytes] = []
    for item in items:
        if isinstance(item.body, RecordHeader):
            approvals.append(item.envelope)
        elif isinstance(item.body, Admission | Removal | TypeCredential):
            credentials.append(item.envelope)
        else:
            entries.append(item.envelope)
    return MembersGive(entries=entries, credentials=credentials, approvals=approvals)
