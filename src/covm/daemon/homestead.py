"""What is done to a home while no node runs on it: a member begins, a federation is founded, an invite is taken up."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from covm._native import Keypair, Link
from covm.daemon.home_key import HomeKeys
from covm.daemon.process import load_config
from covm.federation import FederationConfig
from covm.federation.errors import NotAMember, NotAuthorized
from covm.federation.home import Home
from covm.federation.identity.charter import SignedCharter, charter_verdict, encode_charter, open_charter, sign_charter
from covm.federation.identity.identities import Identities
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.identity.names import check_name
from covm.federation.identity.update import SignedUpdate, member_of, open_updates
from covm.federation.membership import tables
from covm.federation.membership.founding import begin_member, draft_charter
from covm.federation.membership.invites import Invite
from covm.federation.membership.ledger import Ledger, opened_items
from covm.federation.membership.papers import (
    CharterPaper,
    NodePaper,
    OpenedCharter,
    charter_paper,
    node_paper,
    read_charter,
)
from covm.federation.membership.rules import Rules
from covm.federation.membership.undoing import Writing, writing_of
from covm.federation.store import make_store
from covm.federation.store.interface import Store
from covm.federation.sync.rows import load_logs
from covm.federation.sync.written import ends_of, ends_until
from covm.federation.wire.limits import SALT_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import MembersGive


@asynccontextmanager
async def homestead(home: Path, keys: HomeKeys) -> AsyncIterator[Homestead]:
    """The home and its store, while no node runs there. Raises `HomeInUse`, `StoreError`, `IdentityError`."""
    peer_id = keys.peer_id
    config = load_config(home, {})
    place = Home(config.home_path)
    place.open()
    try:
        store = make_store(config.home_path, config.store_url)
        await store.open()
        try:
            yield Homestead(keys, peer_id, config, store)
        finally:
            await store.close()
    finally:
        place.close()


class Homestead:
    """A home in which something is begun."""

    def __init__(self, keys: HomeKeys, peer_id: str, config: FederationConfig, store: Store) -> None:
        self.peer_id = peer_id
        self.config = config
        self._keys = keys
        self._store = store

    @property
    def name(self) -> str:
        """What the node is called, and a member that begins here if nobody says otherwise."""
        return self.config.name or self.peer_id[-8:]

    async def federation(self) -> str | None:
        """The federation that this home belongs to, if it does."""
        return await self._store.read(tables.load_federation)

    async def own_log(self) -> IdentityLog | None:
        """The identity log of this node's member; None for a node that is nobody's yet."""
        own = await self._store.read(tables.load_own)
        if own is None:
            return None
        log = IdentityLog(own)
        rows = await self._store.read(tables.load_items)
        for update in open_updates([envelope for kind, envelope in rows if kind == tables.ENTRY]):
            if not isinstance(update, Malformed) and member_of(update) == own:
                log.add(update)
        return log

    async def obtain_member(self, name: str | None) -> IdentityLog:
        """The member whose node this is; one begins, under this name, if there is none yet. Its keys come to the home.

        Without a name it is called as the node is. Raises `ValueError` for what can be no name and for a member that is
        called otherwise, `IdentityError`.
        """
        log = await self.own_log()
        if log is not None:
            if name is not None and log.head is not None and log.head.name != name:
                raise ValueError(
                    f"this node's member has begun, and is called {log.head.name}: leave out --as, or give it another "
                    "name with `covm identity rename NAME`"
                )
            return log
        name = check_name(self.name if name is None else name, "the member's name")
        node = self._keys.identity.keypair
        keys = self._keys.begin_member()
        current = keys.current
        if current is None:
            raise NotAMember(f"the member's key is not in {self._keys.folder}; bring it there")
        inception = begin_member(
            name,
            current,
            next_key=_peer_id(keys.next, "next"),
            recovery_key=_peer_id(keys.recovery, "recovery"),
            node=node,
            node_name=self._node_name(name),
        )
        own = member_of(inception)
        await self._store.write(partial(_keep_member, entries=[inception], own=own))
        log = IdentityLog(own)
        log.add(inception)
        return log

    async def take_identity(self, updates: Sequence[SignedUpdate], federation: SignedCharter | None = None) -> bool:
        """Takes entries of the own member's log; a node that is nobody's yet becomes the member's that names it.

        A home that is of no federation gets the one that is given; whether this home is of that one now. Raises
        `ValueError` for the log of another, `NotAuthorized` for one that does not name this node.
        """
        member, known = member_of(updates[0]), await self.own_log()
        log = known or IdentityLog(member)
        if log.member != member:
            raise ValueError("it is the identity of another member than the one whose node this is")
        for update in updates:
            placement = log.add(update)
            if not placement.placed and update.id not in log:
                raise ValueError(placement.verdict.reason)
        if log.head is None or (known is None and self.peer_id not in log.head.nodes):
            raise NotAuthorized("taking this identity", "it does not name this node: add it first")
        is_home_of = None if federation is None else await self.federation() or str(federation.id)
        is_new = federation is not None and is_home_of == str(federation.id)
        job = partial(_keep_member, entries=list(log.held()), own=member, charter=federation if is_new else None)
        await self._store.write(job)
        return is_new

    async def charter(self) -> SignedCharter | None:
        """What the founders of this home's federation signed; None where it is not here."""
        rows = await self._store.read(tables.load_items)
        signatures = [envelope for kind, envelope in rows if kind == tables.CHARTER]
        return open_charter(signatures) if signatures else None

    async def written_by(self, node: str, until_ms: int | None = None) -> Writing:
        """What a node has written up to a time, as far as it is here; see `MembershipDesk.written_by`."""
        charter = await self.charter()
        if charter is None:
            return Writing()
        ledger = _ledger(charter, await self._store.read(tables.load_items))
        if ledger.standing is None:
            return Writing()
        logs = [log for log in await self._store.read(load_logs) if log.author == node]
        ends = kept = ends_of(logs, [node])
        if until_ms is not None:
            kept = await self._store.read(partial(ends_until, logs=logs, until_ms=until_ms))
        return writing_of(ledger, ledger.standing, node, ends, kept, until_ms)

    def node_paper(self, member: MemberState) -> NodePaper:
        """This node's request to be one of a member's. Raises `ValueError` for what can be no name."""
        return node_paper(self._keys.identity.keypair, self.name, member)

    async def draft(
        self,
        name: str,
        member_name: str | None,
        others: Sequence[Sequence[SignedUpdate]],
        k: int,
        rules: Rules | None = None,
    ) -> CharterPaper:
        """A charter with this node's member and others as founders, signed by this one.

        Raises `ValueError`; what is wrong with what was asked for is told before a member begins.
        """
        await self._require_none()
        if await self.own_log() is None:
            _drafted(name, [[self._rehearsed(member_name)], *others], k, rules)
        own = await self.obtain_member(member_name)
        return (await self._signed(_opened(_drafted(name, [list(own.updates()), *others], k, rules)))).paper

    def _rehearsed(self, member_name: str | None) -> SignedUpdate:
        """The inception of a member as it would begin, with keys that are used for nothing else."""
        current, following, recovery, node = (Keypair.generate() for _ in range(4))
        name = self.name if member_name is None else member_name
        return begin_member(
            name,
            current,
            next_key=following.peer_id,
            recovery_key=recovery.peer_id,
            node=node,
            node_name=self._node_name(name),
        )

    def _node_name(self, member_name: str) -> str:
        return self.config.name or member_name

    async def sign(self, data: bytes) -> OpenedCharter:
        """A charter paper with this node's member's signature. Raises `ValueError`, `NotAuthorized`."""
        await self._require_none()
        return await self._signed(read_charter(data))

    async def adopt(self, opened: OpenedCharter) -> str:
        """Takes a charter that all founders have signed; returns the federation's id. Raises `ValueError`."""
        signed, own = opened.signed, await self.own_log()
        if signed is None or own is None:
            raise ValueError("nobody has signed the charter yet")
        verdict = charter_verdict(signed, Identities(opened.logs))
        if not verdict.holds:
            raise ValueError(verdict.reason)
        job = partial(tables.save_founded, charter=signed, entries=opened.logs, own=own.member)
        await self._store.write(job)
        return str(signed.id)

    async def take_invite(self, link: str, invite: Invite, member_name: str | None) -> IdentityLog:
        """Notes an invite, to be redeemed by the node when it starts; the member that is to be let in.

        Raises `NotAuthorized` for another federation, and as `obtain_member`.
        """
        federation = await self.federation()
        if federation is not None and federation != str(invite.federation):
            raise NotAuthorized(
                f"joining {invite.name}", f"this node is of another federation, {federation}; use another --home"
            )
        own = await self.obtain_member(member_name)
        await self._store.write(partial(tables.save_invited, link=link, entries=list(own.updates()), own=own.member))
        return own

    async def _require_none(self) -> None:
        federation = await self.federation()
        if federation is not None:
            raise NotAuthorized("founding", f"this node is of the federation {federation} already; use another --home")

    async def _signed(self, opened: OpenedCharter) -> OpenedCharter:
        own = await self.own_log()
        founder = opened.charter.founder(own.member) if own is not None else None
        if founder is None:
            raise NotAuthorized("signing the charter", "the member of this node is none of its founders")
        key = self._keys.member_keys().current
        if key is None or key.peer_id != founder.key:
            raise NotAuthorized("signing the charter", f"the key that the charter names is not in {self._keys.folder}")
        return _opened(opened.with_signature(sign_charter(key, opened.charter)))


def _ledger(charter: SignedCharter, rows: Sequence[tuple[int, bytes]]) -> Ledger:
    """What a node that starts here would hold of the membership."""
    entries, credentials, approvals = ([each for at, each in rows if at == kind] for kind in tables.ITEMS)
    items = opened_items(MembersGive(entries=entries, credentials=credentials, approvals=approvals))
    sound = [item for item in items if not isinstance(item, Malformed)]
    ledger = Ledger(charter, stored=sound)
    ledger.take(sound)
    return ledger


def _drafted(name: str, logs: Sequence[Sequence[SignedUpdate]], k: int, rules: Rules | None) -> CharterPaper:
    """A charter whose founders have these identity logs. Raises `ValueError`."""
    identities = Identities(update for log in logs for update in log)
    heads = [identities.head(member_of(log[0])) for log in logs]
    founders = [head for head in heads if head is not None]
    rules = rules or Rules()
    charter = draft_charter(
        name,
        founders,
        salt=secrets.token_bytes(SALT_SIZE),
        k=k,
        roles=rules.roles,
        founder_roles=rules.founder_roles,
        types=rules.types,
    )
    return charter_paper(encode_charter(charter), name, logs)


def _opened(paper: CharterPaper) -> OpenedCharter:
    from covm.federation.membership.papers import write_paper

    return read_charter(write_paper(paper))


def _keep_member(tx: Any, entries: Sequence[SignedUpdate], own: Link, charter: SignedCharter | None = None) -> None:
    if charter is not None:
        tables.save_charter(tx, charter)
    tables.save_items(tx, entries)
    tables.save_own(tx, own)


def _peer_id(key: Keypair | None, which: str) -> str:
    if key is None:
        raise ValueError(f"the member's {which} key is not in its folder, and the identity has to commit to it")
    return key.peer_id
