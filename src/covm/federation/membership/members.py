"""`Members`: what this node knows of who is a member, kept on disk, kept equal with its peers', and asked by all.

    peers, direct ──frames──> Members ──take──> Ledger ──judge──> Standing
                                 │ commit                            │
                                 └── news to every connected peer    └── who is out is sent away; who waited is released

What arrives is verified off the loop, taken into the ledger, then committed; what this node itself says is committed
before anybody hears of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from covm import _native
from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.errors import StoreError
from covm.federation.events import EventHub, InviteRefused, MemberAdmitted, MemberRemoved
from covm.federation.identity.charter import open_charter, unsigned
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.roles import Action
from covm.federation.identity.standing import Standing
from covm.federation.identity.update import SignedUpdate, member_of
from covm.federation.identity.verdicts import Status, Verdict, refused
from covm.federation.membership import tables
from covm.federation.membership.aside import Item, item_id
from covm.federation.membership.exchange import MAX_NEWS, Exchange
from covm.federation.membership.journal import Journal
from covm.federation.membership.ledger import Ledger, Taken, give_of, opened_items
from covm.federation.membership.unasked import farewell
from covm.federation.offload import Offload
from covm.federation.ports import UNKNOWN_MEMBER, Control, Gate
from covm.federation.store.interface import Store, Transaction
from covm.federation.supervisor import Supervisor
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import MembersGive, MembershipFrame
from covm.federation.wire.names import is_system_type

logger = logging.getLogger("covm.federation.membership")

MAX_ANSWERS_KEPT: Final = 16_384
"""Authors and types of which it is remembered whether their gossip is taken."""

MAX_TYPES_KEPT: Final = 4096
"""Types of which it is remembered whether everyone may read them."""

NOT_FOUNDED: Final = refused("this node does not know yet who is a member")


class Members:
    """The component. It is the `Membership` of the others."""

    def __init__(
        self,
        *,
        federation: _native.Link,
        peer_id: str,
        store: Store,
        offload: Offload,
        supervisor: Supervisor,
        counters: Counters,
        clock: Clock,
        hub: EventHub,
    ) -> None:
        self.federation = federation
        self.peer_id = peer_id
        self.store = store
        self.journal = Journal(store)
        self.ledger: Ledger | None = None
        self.own_log: IdentityLog | None = None
        """The identity log of this node's member, also before that one is anybody here."""
        self._offload = offload
        self._supervisor = supervisor
        self._counters = counters
        self._clock = clock
        self._hub = hub
        self._control: Control
        self._gate: Gate
        self._standing: Standing | None = None
        self.exchange = Exchange(self, clock, counters)
        self._for_everyone: dict[str, bool] = {}
        self._gossip: dict[tuple[str, str], str] = {}
        self._doubtful: Sequence[Item] = ()
        """What this node would have said, and the store failed to take."""
        self._listeners: list[Callable[[], None]] = []

    def meet(self, control: Control, gate: Gate) -> None:
        """Takes the ports to the direct streams and to the gate, which in turn need this component's."""
        self._control = control
        self._gate = gate
        self.exchange.meet(control, gate)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Called whenever it changed who may what."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Reads what is on disk. Raises `StoreError`."""
        rows = await self.store.read(tables.load_items)
        own = await self.store.read(tables.load_own)
        charter = [envelope for kind, envelope in rows if kind == tables.CHARTER]
        signed = open_charter(charter) if charter else None
        if signed is not None and signed.id != self.federation:
            raise StoreError(
                f"the store is of the federation {signed.id} ({signed.charter.name}), and the configuration says "
                f"{self.federation}: set federation to the store's, or use another home"
            )
        entries, credentials, approvals = ([each for at, each in rows if at == kind] for kind in tables.ITEMS)
        items = await self._offload.run(
            lambda: opened_items(MembersGive(entries=entries, credentials=credentials, approvals=approvals))
        )
        sound = [item for item in items if not isinstance(item, Malformed)]
        if len(sound) < len(items):
            logger.error("%d items of the membership in the store do not verify any more", len(items) - len(sound))
        if own is not None:
            self.own_log = IdentityLog(own)
            for item in sound:
                if isinstance(item, SignedUpdate) and member_of(item) == own:
                    self.own_log.add(item)
        if signed is not None:
            self.ledger = Ledger(signed, stored=sound)
            self.ledger.take(sound)
            self._standing = self.ledger.standing

    def start(self) -> None:
        """Begins to deal with what peers say."""
        self._supervisor.keep(self.exchange.run, "membership")
        self._supervisor.keep(self.journal.write_on, "membership journal")

    # --- what the others ask

    @property
    def standing(self) -> Standing | None:
        """What is held comes to; None before a charter with its founders is here."""
        return self._standing

    @property
    def digest(self) -> bytes | None:
        """Equal digests, equal memberships."""
        return self.ledger.digest if self.ledger is not None else None

    def node_verdict(self, peer: str) -> Verdict:
        """Whether a node is a member's."""
        return self._standing.node_verdict(peer) if self._standing is not None else NOT_FOUNDED

    def may(self, peer: str, action: Action, type_name: str) -> Verdict:
        """Whether a node may do this with a type."""
        if self._standing is None:
            return NOT_FOUNDED
        if is_system_type(type_name):
            # The federation's own have no roles of theirs: files that are offered, for one.
            return self._standing.may_send(peer) if action is Action.SEND else self._standing.node_verdict(peer)
        return self._standing.may(peer, action, type_name)

    def everyone_may_read(self, type_name: str) -> bool:
        """Whether a type may be gossiped."""
        known = self._for_everyone.get(type_name)
        if known is None:
            standing = self._standing
            known = standing is not None and (is_system_type(type_name) or standing.everyone_may_read(type_name))
            if len(self._for_everyone) >= MAX_TYPES_KEPT:
                self._for_everyone.clear()
            self._for_everyone[type_name] = known
        return known

    def why_not_gossip(self, author: str, type_name: str) -> str:
        """As the port says. Every message that arrives asks, and the answers are few."""
        known = self._gossip.get((author, type_name))
        if known is None:
            if len(self._gossip) >= MAX_ANSWERS_KEPT:
                self._gossip.clear()
            known = self._gossip[author, type_name] = self._gossip_problem(author, type_name)
        return known

    def _gossip_problem(self, author: str, type_name: str) -> str:
        verdict = self.node_verdict(author)
        if not verdict.holds:
            return "removed_member" if verdict.status is Status.ENDED else UNKNOWN_MEMBER
        if not self.may(author, Action.PUBLISH, type_name).holds:
            return "not_allowed"
        if self.durable(type_name):
            # What is of such a type is a record, and who may write it is looked at there.
            return "durable_type"
        return "" if self.everyone_may_read(type_name) else "not_for_everyone"

    def durable(self, type_name: str) -> bool | None:
        """What the charter, or a credential, says of a type; None where neither does."""
        rule = self._standing.stated_rule(type_name) if self._standing is not None else None
        return rule.durable if rule is not None else None

    def is_agreed(self, type_name: str) -> bool:
        """Whether the charter, or a credential, has a rule of this type's own."""
        return self._standing is not None and self._standing.has_rule(type_name)

    def readers(self, type_name: str) -> list[str]:
        """Nodes that may read a type, this one left out."""
        if self._standing is None:
            return []
        able = self._standing.nodes_that_may(Action.READ, type_name)
        return [node for node in able if node != self.peer_id]

    def member_of(self, peer: str) -> str | None:
        """The id of the member whose a node is."""
        member = self.owner_of(peer)
        return None if member is None else str(member)

    def owner_of(self, peer: str) -> _native.Link | None:
        """As `member_of`, as a link."""
        known = self._standing.nodes.get(peer) if self._standing is not None else None
        return known.member if known is not None else None

    def nodes_of(self, member: str) -> list[str]:
        """The nodes of a member."""
        if self._standing is None:
            return []
        return sorted(peer for peer, known in self._standing.nodes.items() if str(known.member) == member)

    # --- what peers say

    def heard_digest(self, peer: str, digest: bytes | None) -> None:
        self.exchange.heard_digest(peer, digest)

    def received(self, peer: str, frame: MembershipFrame) -> None:
        self.exchange.received(peer, frame)

    def wanted(self, peer: str) -> None:
        self.exchange.wanted(peer)

    def farewell(self, peer: str) -> MembersGive | None:
        """What shows a node that was a member's that it is no more; see `unasked`."""
        if self.ledger is None or self._standing is None:
            return None
        return farewell(self.ledger, self._standing, peer)

    def refused_invite(self, peer: str, reason: str) -> None:
        """A node showed an invite that is not redeemed: the operator hears of it."""
        self._counters.drop("invite_refused")
        logger.warning("%s showed an invite that is not redeemed: %s", peer, reason)
        self._hub.emit(InviteRefused(peer, reason))

    # --- what is taken

    async def opened(self, give: MembersGive) -> list[Item] | None:
        """The items in a frame, verified off the loop; None when one is none."""
        if not give.count:
            return []
        items = await self._offload.run(lambda: opened_items(give))
        return None if any(isinstance(each, Malformed) for each in items) else items  # type: ignore[return-value]

    async def adopt(self, envelopes: Sequence[bytes]) -> bool:
        """Takes the charter of the federation that this node was invited to; False when it is another, or unsigned."""
        if self.ledger is not None:
            return True
        try:
            charter = await self._offload.run(lambda: open_charter(envelopes))
        except Malformed:
            return False
        if charter.id != self.federation or unsigned(charter):
            return False
        await self.store.write(partial(tables.save_charter, charter=charter))
        self.ledger = Ledger(charter)
        if self.own_log is not None:
            self.ledger.take(self.own_log.updates())
        return True

    def take(self, items: Iterable[Item], source: str | None = None) -> Taken:
        """Takes items into the ledger, keeps what is new, acts on it and tells every other peer."""
        if self.ledger is None:
            return Taken()
        taken = self.ledger.take(items)
        if taken.turned_away:
            self._counters.drop("membership_turned_away", taken.turned_away)
        if taken.new or taken.dropped:
            self.journal.add(taken)
            self.changed()
            self.tell(taken.new, source)
        return taken

    async def commit(self, items: Sequence[Item], also: Callable[[Transaction], None] | None = None) -> None:
        """Keeps what this node itself says, then takes it and tells everybody. Raises `StoreError`, nothing said."""

        def job(tx: Transaction) -> None:
            tables.save_items(tx, items)
            if also is not None:
                also(tx)

        await self.settle()
        self._doubtful = items
        await self.store.write(job)
        self._doubtful = ()
        self._committed(items)

    async def settle(self) -> None:
        """Before this node composes what it says next: what the store failed to take may be there all the same.

        Then it was said, and nothing contradicts it: a second approval in its place would be a fork. Raises
        `StoreError`.
        """
        if self._doubtful:
            there = await self.store.read(partial(tables.which_of, ids=[item_id(each) for each in self._doubtful]))
            kept = [each for each in self._doubtful if item_id(each) in there]
            self._doubtful = ()
            self._committed(kept)

    def _committed(self, items: Sequence[Item]) -> None:
        for item in items:
            # Who waits to be let in is in no ledger yet, and goes on all the same.
            if self.own_log is not None and isinstance(item, SignedUpdate) and member_of(item) == self.own_log.member:
                self.own_log.add(item)
        if self.ledger is not None and items:
            self.ledger.take(items)
            self.changed()
            self.tell(items)

    def tell(self, items: Sequence[Item], source: str | None = None) -> None:
        """News for every connected peer but the one that brought it."""
        if not 0 < len(items) <= MAX_NEWS:
            return
        news = give_of(items)
        for peer in self._gate.connected_peers():
            if peer != source:
                self._control.send_control(peer, news)

    def changed(self) -> None:
        """Judges anew and acts on it: who is out is sent away, and who waited is looked at again."""
        if self.ledger is None:
            return
        before, after = self._standing, self.ledger.standing
        if after is None or after is before:
            return
        self._standing = after
        self._for_everyone.clear()
        self._gossip.clear()
        was = {each.member for each in before.members()} if before is not None else set()
        now = {each.member: each for each in after.members()}
        for member in sorted(now.keys() - was, key=lambda link: link.bytes):
            self._hub.emit(MemberAdmitted(str(member), self.name_of(member), tuple(sorted(now[member].roles))))
        for member in sorted(was - now.keys(), key=lambda link: link.bytes):
            reason = after.membership(member).verdict.reason
            self._hub.emit(MemberRemoved(str(member), self.name_of(member), reason))
        self._gate.reconsider()
        for listener in self._listeners:
            listener()

    def own_log_now(self) -> IdentityLog | None:
        """A copy of the own member's identity log, to be tried on."""
        own = self.own_log.member if self.own_log is not None else self.owner_of(self.peer_id)
        known = self.ledger.identities.log(own) if self.ledger is not None and own is not None else None
        source = known or self.own_log
        if source is None:
            return None
        copy = IdentityLog(source.member)
        for update in source.held():
            copy.add(update)
        return copy

    def name_of(self, member: _native.Link) -> str:
        """A member's name; its id's beginning when there is none."""
        head = self.ledger.identities.head(member) if self.ledger is not None else None
        return head.name if head is not None else str(member)[:16]
