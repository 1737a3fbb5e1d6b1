"""What people do with a membership: look who is in, invite, approve, remove, have erased."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from covm import _native
from covm.federation.clock import Clock, Random
from covm.federation.errors import InvalidMessage, NotAMember, NotAuthorized, UnknownEntry
from covm.federation.identity.charter import SignedCharter, roles_problem
from covm.federation.identity.credentials import ErasureCredential, Removal, SignedCredential, misfit
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.roles import Role, TypeRule
from covm.federation.identity.standing import Standing
from covm.federation.identity.update import open_updates
from covm.federation.identity.verdicts import Verdict
from covm.federation.membership import tables
from covm.federation.membership.aside import Item
from covm.federation.membership.finding import found_member, found_request
from covm.federation.membership.founding import MEMBER_ROLE
from covm.federation.membership.invites import (
    MAX_LINK_ADDRESSES,
    MAX_USES,
    UNKNOWN_INVITE,
    Invite,
    encode_invite,
    invite_row,
    is_shown,
    refusal,
)
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.members import Members
from covm.federation.membership.own import Pen
from covm.federation.membership.papers import log_shown
from covm.federation.membership.passes import relays_of
from covm.federation.membership.proposals import (
    kept_places,
    nodes_of,
    waiting_admission,
    waiting_erasure,
    waiting_removal,
    waiting_type,
)
from covm.federation.membership.undoing import Writing, writing_of
from covm.federation.membership.views import MemberView, RequestView, members_of, node_names, requests_of
from covm.federation.ports import Replicas
from covm.federation.store.interface import Transaction
from covm.federation.wire.id_range import link_of
from covm.federation.wire.limits import MAX_REASON, clamped_ms
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import INVITE_ID_SIZE, SECRET_SIZE, JoinRequest

DEFAULT_EXPIRY: Final = timedelta(hours=24)

MAX_EXPIRY: Final = timedelta(days=90)
"""The longest that an invite is good for: who has the link is let in."""


class MembershipDesk:
    """Every method that changes something raises `StoreError`, with nothing said to anybody."""

    def __init__(self, members: Members, pen: Pen, replicas: Replicas, clock: Clock, random: Random) -> None:
        self._members = members
        self._replicas = replicas
        self._pen = pen
        self._clock = clock
        self._random = random
        self._acting = asyncio.Lock()
        self._names: Mapping[str, str] = {}
        """Of all nodes by `_names_of`: a list of peers or messages asks for as many as it has lines."""
        self._names_of: Standing | None = None

    # --- looking

    def listed(self) -> list[MemberView]:
        """Everyone who is or was a member, those who are in first."""
        ledger = self._members.ledger
        return members_of(ledger, self._own()) if ledger is not None else []

    def show(self, member: str) -> MemberView:
        """One member, by its id, its name, or the beginning of one of these (of an id behind what all begin with).

        If several fit by name, it is the one that is in now. Raises `UnknownMember`.
        """
        return found_member(self.listed(), member)

    def own(self) -> MemberView | None:
        """The member whose node this is; None when it is nobody's here."""
        mine = self._own()
        return None if mine is None else next((each for each in self.listed() if each.id == str(mine)), None)

    def requests(self) -> list[RequestView]:
        """What waits for approvals, the oldest first."""
        ledger = self._members.ledger
        return requests_of(ledger) if ledger is not None else []

    def roles(self) -> dict[str, Role]:
        """The charter's roles, with what each may do by type pattern."""
        ledger = self._members.ledger
        return dict(ledger.charter.charter.roles) if ledger is not None else {}

    def types(self) -> dict[str, TypeRule]:
        """What everyone has agreed on about types, by name; `*` stands for all that are not named."""
        standing = self._members.standing
        return standing.type_rules() if standing is not None else {}

    @property
    def federation_name(self) -> str:
        """What the founders called the federation; empty before its charter is here."""
        ledger = self._members.ledger
        return ledger.charter.charter.name if ledger is not None else ""

    @property
    def own_verdict(self) -> Verdict:
        """Whether this node takes part, and why."""
        return self._members.node_verdict(self._pen.peer_id)

    def node_names(self) -> Mapping[str, str]:
        """What each member's node is called, by peer id: as its member, and as itself where that one has several.

        Two members of one name, and nodes that would still be called alike, are told apart by their ids. These
        names are signed, unlike those that peers give themselves.
        """
        standing = self._members.standing
        if self._names_of is not standing:
            self._names_of, self._names = standing, node_names(self.listed())
        return self._names

    # --- deciding

    async def invite(
        self,
        addresses: Sequence[str],
        roles: Iterable[str] = (MEMBER_ROLE,),
        expires: timedelta = DEFAULT_EXPIRY,
        uses: int = 1,
    ) -> str:
        """A link that lets `uses` members in, in these roles. Whoever has it can use it: send it in confidence.

        `addresses` are those at which this node is reached. Raises `NotAuthorized`, and `ValueError` for roles that
        the charter does not have, and other values that do not fit.
        """
        ledger, standing = self._ground()
        self._pen.own(standing)
        listed = tuple(sorted(set(roles)))
        if not listed or (why := roles_problem(listed, ledger.charter.charter.roles)):
            raise ValueError(why if listed else "an invite gives at least one role")
        if not timedelta(0) < expires <= MAX_EXPIRY:
            raise ValueError(f"an invite is good for up to {MAX_EXPIRY.days} days, not {expires}")
        if not 1 <= uses <= MAX_USES:
            raise ValueError(f"an invite lets in 1 to {MAX_USES:,} members, not {uses:,}")
        now_ms, incarnation = clamped_ms(self._clock.now_ms()), self._pen.incarnation
        if incarnation is None:
            raise NotAuthorized("inviting", "the node has not started")
        secret, listed_at = self._random.bytes(SECRET_SIZE), tuple(addresses[:MAX_LINK_ADDRESSES])
        expires_at = clamped_ms(now_ms + int(expires.total_seconds() * 1000))
        is_behind = bool(relays_of(listed_at))
        invite = Invite(
            federation=ledger.federation,
            node=self._pen.peer_id,
            addresses=listed_at,
            id=self._random.bytes(INVITE_ID_SIZE),
            secret=secret,
            expires_at=expires_at,
            name=ledger.charter.charter.name,
            relay_pass=self._pen.relay_pass(ledger.federation, secret, uses, expires_at) if is_behind else b"",
        )
        removals = {str(removal) for each in standing.memberships.values() for removal in each.removals}
        row = invite_row(invite, listed, uses, incarnation, now_ms, removals)
        await self._members.store.write(partial(_keep_invite, row=row, now_ms=now_ms))
        return encode_invite(invite)

    async def approve(self, request: str) -> RequestView:
        """Approves what waits, by its id or that of the member that it is about, or the beginning of one, or by name.

        Raises `NotAuthorized`, and `UnknownMember` for what is not here or fits several.
        """
        async with self._acting:
            await self._members.settle()
            ledger, standing = self._ground()
            credential = self._request(ledger, request)
            record = self._pen.approval(ledger, standing, credential)
            mine = self._own()
            if mine not in standing.approvers(credential.id):
                if isinstance(credential.body, Removal) and credential.body.member == mine:
                    raise NotAuthorized("approving", "nobody has a say in its own removal")
                if isinstance(credential.body, ErasureCredential) and credential.body.member == mine:
                    raise NotAuthorized("approving", "this node's own member wrote that, and erases it by itself")
                await self._members.commit([record])
            return requests_of(ledger, [credential])[0]

    async def remove(self, member: str, reason: str) -> RequestView:
        """Proposes to remove a member, and approves it where this node may. What it wrote up to now stays.

        Raises `UnknownMember`, `NotAuthorized`, also for one's own member and the only founder.
        """
        async with self._acting:
            await self._members.settle()
            ledger, standing = self._ground()
            found = found_member(self.listed(), member)
            self._pen.own(standing)
            if found.is_own:
                raise NotAuthorized("removing one's own member", "others decide that; ask one of the founders")
            if not found.is_member:
                raise NotAuthorized(f"removing {found.name}", f"it is no member now: {found.reason}")
            if len(reason) > MAX_REASON:
                raise ValueError(f"a reason has at most {MAX_REASON} characters, this has {len(reason):,}")
            subject = _native.Link(found.id)
            nodes = nodes_of(ledger, subject)
            written = self._replicas.written_by(nodes)
            return await self._put_forward(
                f"removing {found.name}",
                waiting_removal(ledger, standing, subject, self._pen.peer_id, written),
                lambda: self._pen.removal(ledger, subject, reason, kept_places(ledger, standing, nodes, written)),
            )

    async def erase(self, type_name: str, record: str, reason: str) -> RequestView:
        """Proposes to take away what another member's record says, on every node, and approves it where this node may.

        It takes as many approvals as removing that member. Raises `UnknownEntry` for what is not here, `InvalidMessage`
        for what says no value, `NotAuthorized`, also for the own member's (`Collection.erase`) and the only founder's.
        """
        async with self._acting:
            await self._members.settle()
            ledger, standing = self._ground()
            own = self._pen.own(standing).member
            link = link_of(record)
            found = None if link is None else await self._replicas.authored(link)
            if link is None or found is None or found.type != type_name:
                raise UnknownEntry(type_name, record)
            what = f"erasing {found.key!r}"
            if not found.says_value:
                raise InvalidMessage(type_name, "", "that version says no value: there is nothing to erase")
            if found.owner == str(own):
                raise NotAuthorized(what, "this node's own member wrote it, and erases it by itself")
            if len(reason) > MAX_REASON:
                raise ValueError(f"a reason has at most {MAX_REASON} characters, this has {len(reason):,}")
            member = _native.Link(found.owner)
            return await self._put_forward(
                what,
                waiting_erasure(ledger, standing, link, type_name, member, self._pen.peer_id),
                lambda: self._pen.erasure(ledger, link, type_name, member, reason),
            )

    async def propose_type(self, name: str, rule: TypeRule) -> RequestView:
        """Proposes a type with its rule, for good, and approves it where this node may.

        Raises `NotAuthorized`, also where the type has a rule already, and `ValueError` for what can be no type.
        """
        async with self._acting:
            await self._members.settle()
            ledger, standing = self._ground()
            self._pen.own(standing)
            if name in standing.type_rules():
                raise NotAuthorized(f"proposing {name}", "the type has a rule, and nothing changes it")
            return await self._put_forward(
                f"proposing {name}",
                waiting_type(ledger, standing, name, rule),
                lambda: self._pen.type_rule(ledger, name, rule),
            )

    async def _put_forward(
        self, what: str, waiting: SignedCredential | None, draft: Callable[[], SignedCredential]
    ) -> RequestView:
        ledger, standing = self._ground()
        credential = waiting or draft()
        if waiting is None and (why := misfit(credential.body, ledger.federation, ledger.charter.charter)) is not None:
            raise NotAuthorized(what, why)
        items: list[Item] = [] if waiting else [credential]
        if self._pen.is_elector(ledger, standing) and self._own() not in standing.approvers(credential.id):
            items.append(self._pen.approval(ledger, standing, credential))
        if items:
            await self._members.commit(items)
        return requests_of(ledger, [credential])[0]

    async def redeem(self, peer: str, request: JoinRequest) -> str | None:
        """Lets in who shows an invite of this node. Why not, as a sentence that it is told; None when it is in.

        Raises `StoreError`: then nothing was said, and the invite is as good as before.
        """
        async with self._acting:
            await self._members.settle()
            ledger = self._members.ledger
            standing = self._members.standing
            if ledger is None or standing is None or self._pen.incarnation is None:
                return "this node does not know yet who is a member; try again later"
            row = await self._members.store.read(partial(tables.load_invite, invite=request.invite))
            if row is None or not is_shown(row, request.secret):
                # Nothing is verified for who has no invite.
                return self._refused(peer, UNKNOWN_INVITE)
            log = log_shown(request.entries, peer)
            if isinstance(log, str):
                return self._refused(peer, log)
            member = log.member
            now_ms = self._clock.now_ms()
            removals = map(str, standing.membership(member).removals)
            why = refusal(row, request.secret, str(member), self._pen.incarnation, now_ms, removals)
            if why is not None:
                return self._refused(peer, why)
            if not standing.node_verdict(self._pen.peer_id).holds:
                return self._refused(peer, "this node is no member any more, and cannot let anybody in")
            return await self._admit(ledger, standing, row, log)

    async def _admit(
        self,
        ledger: Ledger,
        standing: Standing,
        row: tables.InviteRow,
        log: IdentityLog,
    ) -> str | None:
        member = log.member
        membership = standing.membership(member)
        items: list[Item] = []
        credential = waiting_admission(ledger, member, row.roles, membership.removals)
        if not membership.verdict.holds:
            if credential is None:
                credential = self._pen.admission(ledger, member, row.roles, membership.removals)
                items.append(credential)
            if self._pen.is_elector(ledger, standing) and self._own() not in standing.approvers(credential.id):
                items.append(self._pen.approval(ledger, standing, credential))
        used_by = row.used_by if str(member) in row.used_by else (*row.used_by, str(member))
        await self._members.commit([*items, *log.held()], partial(tables.use_invite, invite=row.id, used_by=used_by))
        now = self._members.standing
        if now is None or now.membership(member).verdict.holds or credential is None:
            return None
        have, needed = len(now.approvers(credential.id)), now.threshold(credential.id)
        return f"your request is noted and waits for approval: {have} of {needed} founders have approved it"

    # --- the identity of this node's member

    def own_entries(self) -> list[bytes]:
        """The own member's identity log, losing branches and all. Raises `NotAMember`."""
        log = self._members.own_log_now()
        if log is None:
            raise NotAMember("this node is of no member yet: create or join a federation")
        return [update.envelope for update in log.held()]

    @property
    def charter(self) -> SignedCharter | None:
        """What the founders signed; None before it is here."""
        return self._members.ledger.charter if self._members.ledger is not None else None

    async def written_by(self, node: str, until_ms: int | None = None) -> Writing:
        """What a node of the own member has written up to a time, and what would be otherwise without the rest.

        Its places are the cut that keeps it when the node goes. Without a time it is all. Raises `StoreError`.
        """
        kept = None if until_ms is None else await self._replicas.written_until([node], until_ms)
        ends = self._replicas.written_by([node])
        return writing_of(*self._ground(), node, ends, ends if kept is None else kept, until_ms)

    async def take_entries(self, envelopes: Sequence[bytes]) -> None:
        """Takes entries of the own member's identity log that were signed by its keys, wherever those live.

        Raises `NotAMember`, and `ValueError` for what does not verify, belongs to another, or has no place.
        """
        async with self._acting:
            log = self._members.own_log_now()
            if log is None:
                raise NotAMember("this node is of no member yet: create or join a federation")
            entries: list[Item] = []
            for each in open_updates(envelopes):
                if isinstance(each, Malformed):
                    raise ValueError(each.reason)  # noqa: TRY004 - it is no question of types
                placement = log.add(each)
                if not placement.placed and each.id not in log:
                    raise ValueError(placement.verdict.reason)
                entries += placement.placed
            await self._members.commit(entries)

    # --- inside

    def _refused(self, peer: str, why: str) -> str:
        self._members.refused_invite(peer, why)
        return why

    def _own(self) -> _native.Link | None:
        return self._members.owner_of(self._pen.peer_id)

    def _ground(self) -> tuple[Ledger, Standing]:
        ledger, standing = self._members.ledger, self._members.standing
        if ledger is None or standing is None:
            raise NotAMember("this node is of no federation yet: found one, or join one with an invite")
        return ledger, standing

    @staticmethod
    def _request(ledger: Ledger, request: str) -> SignedCredential:
        return ledger.credentials[_native.Link(found_request(requests_of(ledger), request).id)]


def _keep_invite(tx: Transaction, row: tables.InviteRow, now_ms: int) -> None:
    tables.forget_invites(tx, now_ms - int(MAX_EXPIRY.total_seconds() * 1000))
    tables.save_invite(tx, row)
