"""Machines of a federation with members: who founds it, who is invited, and what a test asks of them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
from tests.unit.membership_world import key_of, salt
from tests.unit.outbox_world import in_time, sees

from covm._native import Keypair
from covm.federation import FederationConfig, Identity
from covm.federation.identity.charter import SignedCharter
from covm.federation.identity.consent import seal_consent
from covm.federation.identity.identities import Identities
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.identity.update import NodeEntry, SignedUpdate, Update, open_updates, seal_update
from covm.federation.membership import tables
from covm.federation.membership.desk import MembershipDesk
from covm.federation.membership.founding import begin_member, draft_charter, found
from covm.federation.membership.invites import decode_invite
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import JoinRequest
from covm.testing.machine import Machine
from covm.testing.world import World

__all__ = ["Coop", "Valley", "head_of", "headed", "in_time", "new_node", "sees", "signed", "valley"]


class Coop:
    """A cooperative with one machine. Its keys follow from its name."""

    def __init__(self, name: str, node: Keypair) -> None:
        self.name = name
        self.node = node
        self.key = key_of(f"{name}: key")
        self.inception: SignedUpdate = begin_member(
            name.title(),
            self.key,
            next_key=key_of(f"{name}: next").peer_id,
            recovery_key=key_of(f"{name}: recovery").peer_id,
            node=node,
            node_name=name,
        )
        self.member = self.inception.id


class Valley:
    """A world with a federation in it. Machines that are no founders have nothing until they are `invited`."""

    def __init__(self, world: World, coops: dict[str, Coop], charter: SignedCharter, founders: Sequence[str]) -> None:
        self.world = world
        self.coops = coops
        self.charter = charter
        self.machines: dict[str, Machine] = {machine.name: machine for machine in world.machines}
        self.founders = founders

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def desk(self, name: str) -> MembershipDesk:
        """What the people at a machine use."""
        return self[name].service.members

    async def found(self) -> None:
        """The founders' machines begin with the charter, and start."""
        entries = [self.coops[each].inception for each in self.founders]
        for name in self.founders:
            await self.write(
                name, partial(tables.save_founded, charter=self.charter, entries=entries, own=self.coops[name].member)
            )
            await self[name].start()
        for one in self.founders:
            for other in self.founders:
                if one != other:
                    await in_time(lambda one=one, other=other: sees(self[one], self[other]))  # type: ignore[misc]

    async def invited(self, name: str, link: str) -> None:
        """A machine begins with an invite, and starts."""
        coop = self.coops[name]
        await self.write(name, partial(tables.save_invited, link=link, entries=[coop.inception], own=coop.member))
        await self[name].start()

    async def joined(self, name: str, by: str, **how: Any) -> None:
        """A machine is invited by another and let in."""
        link = await self.desk(by).invite(self[by].service.addresses, **how)
        await self.invited(name, link)
        await in_time(lambda: self.is_in(name) and sees(self[name], self[by]))

    async def approve_many(self, name: str, count: int) -> None:
        """So many more cooperatives, whose machines are never seen again, show an invite of a founder's."""
        desk = self.desk(name)
        invite = decode_invite(await desk.invite(self[name].service.addresses, uses=count))
        for number in range(count):
            coop = Coop(f"{number} {invite.id.hex()}", key_of(f"{invite.id.hex()} {number}"))
            entries = [coop.inception.envelope]
            request = JoinRequest(invite=invite.id, secret=invite.secret, entries=entries)
            assert await desk.redeem(coop.node.peer_id, request) is None

    async def write(self, name: str, job: Any) -> None:
        store = self[name].disk.mount()
        await store.open()
        await store.write(job)
        await store.close()

    def is_in(self, name: str, seen_by: str = "") -> bool:
        """Whether a cooperative is a member, as one of the machines sees it."""
        desk = self.desk(seen_by or name)
        member = str(self.coops[name].member)
        return any(each.id == member and each.is_member for each in desk.listed())

    def digest(self, name: str) -> bytes | None:
        members = self[name].service._node.members
        return members.digest if members is not None else None

    def agree(self, *names: str) -> bool:
        """Whether these hold the same."""
        return len({self.digest(name) for name in names}) == 1


@asynccontextmanager
async def valley(
    founders: Sequence[str] = ("mill", "farm"),
    others: Sequence[str] = ("shop",),
    *,
    k: int = 1,
    settings: Mapping[str, Any] | None = None,
    registered: Sequence[type[msgspec.Struct]] = (),
    **charter: Any,
) -> AsyncIterator[Valley]:
    """Founders that are up and connected; the others are off."""
    seed = 5
    names = [*founders, *others]
    identities = {
        name: Identity.from_seed(hashlib.sha256(f"covm.testing/{seed}/identity/{name}".encode()).digest())
        for name in names
    }
    coops = {name: Coop(name, identities[name].keypair) for name in names}
    logs = [coops[name].inception for name in founders]
    heads = [Identities(logs).head(coops[name].member) for name in founders]
    draft = draft_charter("The valley", [head for head in heads if head], salt=salt("valley"), k=k, **charter)
    signed = found(draft, [coops[name].key for name in founders], logs)
    config = {"membership": "members", "federation": str(signed.id), **(settings or {})}
    async with World(seed=seed, names=names, config=config, types=registered) as world:
        story = Valley(world, coops, signed, founders)
        await story.found()
        yield story


def link_of(link: str) -> Any:
    return decode_invite(link)


def preset(**changes: Any) -> FederationConfig:
    return FederationConfig.preset("local", **changes)


def signed(coop: Coop, draft: Update) -> SignedUpdate:
    [update] = open_updates([seal_update(coop.key, draft)])
    assert isinstance(update, SignedUpdate)
    return update


def head_of(coop: Coop) -> MemberState:
    return headed(coop, ())


def headed(coop: Coop, updates: Iterable[SignedUpdate | Malformed]) -> MemberState:
    """What a log comes to that begins with the inception and goes on like this."""
    log = IdentityLog(coop.member)
    for update in (coop.inception, *updates):
        assert isinstance(update, SignedUpdate)
        log.add(update)
    assert log.head is not None
    return log.head


def new_node(coop: Coop, node: Keypair) -> NodeEntry:
    consent = seal_consent(node, coop.key.peer_id)
    return NodeEntry(node=node.peer_id, name="another machine", approver=False, consent=consent)
