"""Everything that a node holds of its federation's membership, and what it comes to. Rules: no I/O, no clock.

What is taken, and whose: approvals by nodes of electors; credentials that an approval names, and the identity logs of
whom these name, and of founders. Who is *vouched for* like this may propose other credentials, a bounded number that
nobody has approved yet; of whom these name, only the inception is taken. So whoever is proposed proposes nobody, and
what one member or any number of strangers can put here is bounded. The order in which things come does not matter:
what builds on others waits, in a bounded room, and is looked at again when those are there.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from covm import _native
from covm.federation.identity.approvals import ApprovalLogs
from covm.federation.identity.charter import SignedCharter, charter_verdict
from covm.federation.identity.credentials import (
    Admission,
    Credential,
    Removal,
    SignedCredential,
    misfit,
    open_credentials,
)
from covm.federation.identity.identities import Identities
from covm.federation.identity.standing import Standing, judge
from covm.federation.identity.update import SignedUpdate, member_of, nodes_of, open_updates
from covm.federation.membership.aside import Aside, Awaited, Item, item_id
from covm.federation.membership.room import is_kept, void_ends
from covm.federation.wire.limits import DIGEST_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import BUCKET_SIZE, BUCKETS, MembersGive
from covm.federation.wire.record import RecordHeader, SignedRecord, open_records

MAX_ITEMS: Final = 500_000
"""Items of one membership: ten thousand members with fifty each."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""Bytes of their envelopes: a node holds all of them in memory."""

MAX_PROPOSALS: Final = 256
"""Credentials that nodes of one member propose and nobody has approved: what is beyond, by id, is let go."""

MAX_PROPOSED: Final = 16 * 1024
"""Bytes of the envelope of such a credential: with a cut of 200 logs. A larger one waits for an approval."""

PROPOSED_SHARE: Final = 0.5
"""Of the room, as much as such credentials may fill; the rest is for what is approved."""

MAX_PROPOSED_INCEPTION: Final = 32 * 1024
"""Bytes of the inception of somebody who is merely proposed: with as many nodes as there can be it has 20 KiB."""


MAX_APPROVALS: Final = 65_536
"""Approvals by nodes of one elector: with several that lie there is room left to remove them."""


class Taken(msgspec.Struct, frozen=True):
    """What came of offering items: what is new, to be stored in this order; ids of what is let go."""

    new: tuple[Item, ...] = ()
    dropped: tuple[bytes, ...] = ()
    turned_away: int = 0


class Ledger:
    """Holds items; `standing` is what they come to. `stored` is what it held before, and is to take first."""

    def __init__(self, charter: SignedCharter, stored: Iterable[Item] = ()) -> None:
        self.charter = charter
        self.federation = charter.id
        self._pinned = {item.body.auth.identity for item in stored if isinstance(item.body, RecordHeader)}
        """Entries that approvals name: who signed them is judged by these, also where they lost since."""
        self.identities = Identities(pinned=self._pinned)
        self.credentials: dict[_native.Link, SignedCredential] = {}
        self.approvals = ApprovalLogs(self.federation)
        self._items: dict[bytes, Item] = {}
        self._size_bytes = 0
        self._buckets: list[set[bytes]] = [set() for _ in range(BUCKETS)]
        self._digests: list[bytes | None] = [None] * BUCKETS
        self._standing: Standing | None = None
        self._gone: list[bytes] = []
        self._aside = Aside()
        """What belongs nowhere yet: in an exchange things come in the order of their ids."""
        self._nodes: dict[str, _native.Link] = {}
        """Whose the nodes are that may propose: all that ever were of somebody vouched for."""
        self._elector_nodes: dict[str, _native.Link] = {}
        self._approvals_by: Counter[_native.Link] = Counter()
        self._subjects = {founder.member for founder in charter.charter.founders}
        """Whose identity logs are taken, or the beginning of them."""
        self._electors = charter.charter.electors
        self._vouched_for = set(self._subjects)
        self._named: set[str] = set()
        """Ids, as text, of what an elector's node has approved, whether or not that counts."""

    # --- what is held

    def take(self, items: Iterable[Item]) -> Taken:
        """Takes what belongs here. What is here already is neither new nor turned away."""
        fresh = {item_id(item): item for item in items if item_id(item) not in self}
        new: dict[bytes, Item] = {}
        pending = deque(fresh.values())
        while pending:
            item = pending.popleft()
            placed = self._placed(item)
            if isinstance(placed, tuple):
                for each in placed:
                    self._keep(each)
                    new[item_id(each)] = each
                    pending += self._awaited(each)
            elif placed is not None:
                self._aside.put(item_id(item), item, placed)
        turned_away = len(fresh.keys() - new.keys())
        dropped: list[bytes] = []
        if new or self._gone:
            self._standing = None
            dropped = self._let_go([*self._gone, *self._surplus()])
            self._gone.clear()
        gone = set(dropped)
        stored = tuple(key for key in dropped if key not in new)
        return Taken(tuple(item for key, item in new.items() if key not in gone), stored, turned_away)

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

    def has_had(self, node: str) -> bool:
        """Whether any entry that is held has added a node, whatever became of it."""
        return node in self._nodes

    def may_approve_more(self, elector: _native.Link) -> bool:
        """Whether there is room for another approval by a node of this elector."""
        return self._approvals_by[elector] < MAX_APPROVALS and len(self._items) < MAX_ITEMS

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

    def _placed(self, item: Item) -> tuple[Item, ...] | Awaited | None:
        """What has its place now, what it waits for, or None if it can never have a place, or there is no room."""
        is_full = len(self._items) >= MAX_ITEMS or self._size_bytes + len(item.envelope) > MAX_BYTES
        if is_full:
            return None
        if isinstance(item.body, RecordHeader):
            return self._placed_approval(item)
        if isinstance(item.body, Credential):
            return self._placed_credential(item)
        return self._placed_update(item)

    def _placed_approval(self, record: SignedRecord) -> tuple[Item, ...] | Awaited | None:
        elector = self._elector_nodes.get(record.author)
        if elector is None:
            return record.author
        if not self.may_approve_more(elector) and not self._makes_room(record, elector):
            return None
        before = record.body.prev
        if before is not None and self.approvals.get(before) is None:
            return before
        return tuple(self.approvals.add(record).placed) or None

    def _makes_room(self, record: SignedRecord, elector: _native.Link) -> bool:
        """Has void approvals of an elector let go, for one that a cut says is to count."""
        standing = self.standing
        if standing is None or len(self._items) >= MAX_ITEMS:
            return False
        removals = [self.credentials[each].body for each in standing.membership(elector).removals]
        if not is_kept(record, elector, self.identities, [each for each in removals if isinstance(each, Removal)]):
            return False
        nodes = {node for node, member in self._elector_nodes.items() if member == elector}
        gone = void_ends(self.approvals, standing, nodes)
        self.approvals = ApprovalLogs(self.federation, [each for each in self.approvals if each.id not in gone])
        self._approvals_by[elector] -= len(gone)
        self._gone += [link.bytes[-DIGEST_SIZE:] for link in gone]
        self._standing = None
        return bool(gone)

    def _placed_update(self, update: SignedUpdate) -> tuple[Item, ...] | Awaited | None:
        member = member_of(update)
        if member not in self._subjects:
            return member
        before = update.body.prev
        if member not in self._vouched_for and (before is not None or len(update.envelope) > MAX_PROPOSED_INCEPTION):
            return _vouching(member)
        log = self.identities.log(member)
        if before is not None and (log is None or before not in log):
            return before
        placement = self.identities.add(update)
        self._gone += [link.bytes[-DIGEST_SIZE:] for link in placement.dropped]
        return tuple(placement.placed) or None

    def _placed_credential(self, item: SignedCredential) -> tuple[Item, ...] | Awaited | None:
        if misfit(item.body, self.federation, self.charter.charter) is not None:
            return None
        if str(item.id) in self._named:
            return (item,)
        # An approval of it looks for it by its id, whatever it waits for.
        if item.author not in self._nodes:
            return item.author
        if len(item.envelope) > MAX_PROPOSED:
            return str(item.id)
        has_room = len(self._items) < MAX_ITEMS * PROPOSED_SHARE and self._size_bytes < MAX_BYTES * PROPOSED_SHARE
        return (item,) if has_room else _room(self._nodes[item.author])

    def _awaited(self, item: Item) -> list[Item]:
        """What has waited for something that has its place now."""
        body, awaited = item.body, list[Awaited]()
        if isinstance(body, RecordHeader):
            awaited.append(item.id)
            self._approvals_by[self._elector_nodes[body.author]] += 1
            self._pinned.add(body.auth.identity)
            released = self._aside.named(body.key)
            credential = self._credential(body.key)
            if credential is not None and body.key not in self._named:
                awaited += self._vouch(credential)
                # It takes no room any more among what nobody has approved.
                awaited.append(_room(self._nodes[credential.author]))
            self._named.add(body.key)
        elif isinstance(body, Credential):
            self.credentials[item.id] = item  # type: ignore[assignment]
            released = []
            if isinstance(body, Admission | Removal):
                self._subjects.add(body.member)
                awaited.append(body.member)
            if str(item.id) in self._named:
                awaited += self._vouch(item)  # type: ignore[arg-type]
        else:
            released = []
            awaited += [item.id, *self._known_nodes(item)]  # type: ignore[arg-type]
        for each in awaited:
            released += self._aside.released(each)
        return released

    def _vouch(self, credential: SignedCredential) -> list[Awaited]:
        """An elector has approved it: whom it names is somebody."""
        body = credential.body
        if not isinstance(body, Admission | Removal) or body.member in self._vouched_for:
            return []
        self._vouched_for.add(body.member)
        log = self.identities.log(body.member)
        nodes = [node for update in (log.held() if log else ()) for node in self._known_nodes(update)]
        return [_vouching(body.member), *nodes]

    def _known_nodes(self, update: SignedUpdate) -> list[Awaited]:
        member, nodes = member_of(update), [entry.node for entry in nodes_of(update.body)]
        if member not in self._vouched_for:
            return []
        awaited: list[Awaited] = [*nodes]
        for node in nodes:
            # A node that several have had is the one's with the lowest id, whoever came first.
            before = self._nodes.get(node, member)
            self._nodes[node] = min(before, member, key=lambda link: link.bytes)
            if before != self._nodes[node]:
                awaited.append(_room(before))
        if member in self._electors:
            self._elector_nodes.update(dict.fromkeys(nodes, member))
        return awaited

    def _credential(self, key: str) -> SignedCredential | None:
        try:
            return self.credentials.get(_native.Link(key))
        except ValueError:
            return None

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
            self.credentials.pop(item.id, None)
        return gone

    def _surplus(self) -> list[bytes]:
        """Proposals of members that made too many which nobody approved, those with the highest ids; and what goes

        with them: who is named by nothing any more is nobody.
        """
        open_by: dict[_native.Link, list[SignedCredential]] = {}
        for each in self.credentials.values():
            if str(each.id) not in self._named:
                open_by.setdefault(self._nodes[each.author], []).append(each)
        gone = [each for made in open_by.values() for each in sorted(made, key=item_id)[MAX_PROPOSALS:]]
        if not gone:
            return []
        for each in gone:
            del self.credentials[each.id]
            self._aside.put(item_id(each), each, _room(self._nodes[each.author]))
        left = {each.body.member for each in self.credentials.values() if isinstance(each.body, Admission | Removal)}
        nobody = self._subjects - left - self._electors
        self._subjects -= nobody
        self._vouched_for -= nobody
        logs = [log for member in nobody if (log := self.identities.log(member)) is not None]
        forgotten = [update for log in logs for update in log.held()]
        for log in logs:
            self.identities.forget(log.member)
        for update in forgotten:
            self._aside.put(item_id(update), update, member_of(update))
        return [*map(item_id, gone), *map(item_id, forgotten)]


def _room(member: _native.Link) -> str:
    return f"room among what {member} proposes"


def _vouching(member: _native.Link) -> str:
    return f"vouching for {member}"


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
        elif isinstance(item.body, Credential):
            credentials.append(item.envelope)
        else:
            entries.append(item.envelope)
    return MembersGive(entries=entries, credentials=credentials, approvals=approvals)
