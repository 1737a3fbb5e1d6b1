"""A membership on disk: it comes back whole, in whatever order it was taken, on every engine."""

from __future__ import annotations

from functools import partial

from tests.unit.membership_world import Coop, World

from covm.federation.identity.update import SignedUpdate
from covm.federation.membership import tables
from covm.federation.membership.aside import Item
from covm.federation.membership.invites import hash_of
from covm.federation.membership.ledger import Ledger, opened_items
from covm.federation.store.interface import Store
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import MembersGive

MILL, FARM, SHOP = Coop("Mill"), Coop("Farm"), Coop("Shop")


async def loaded(store: Store, world: World) -> Ledger:
    rows = await store.read(tables.load_items)
    charter = [envelope for kind, envelope in rows if kind == tables.CHARTER]
    assert set(charter) == set(world.signed.envelopes)
    by_kind = {kind: [each for at, each in rows if at == kind] for kind in (1, 2, 3)}
    items = opened_items(MembersGive(entries=by_kind[1], credentials=by_kind[2], approvals=by_kind[3]))
    ledger = Ledger(world.signed)
    ledger.take([item for item in items if not isinstance(item, Malformed)])
    return ledger


async def test_what_was_kept_comes_to_the_same(store: Store) -> None:
    world = World([MILL, FARM])
    world.admitted(SHOP)
    world.removed(FARM, 0)
    ledger = Ledger(world.signed)
    items: list[Item] = [*world.updates, *world.credentials, *world.records]
    taken = ledger.take(items)
    own = MILL.member
    founding: list[SignedUpdate] = [MILL.inception]
    await store.write(partial(tables.save_founded, charter=world.signed, entries=founding, own=own))
    await store.write(partial(tables.save_items, items=taken.new))
    await store.write(partial(tables.save_items, items=taken.new))
    again = await loaded(store, world)
    assert again.digest == ledger.digest
    assert await store.read(tables.load_own) == own
    assert await store.read(tables.load_federation) == str(world.federation)


async def test_what_is_dropped_is_gone(store: Store) -> None:
    world = World([MILL, FARM])
    items: list[Item] = [*world.updates, world.admission(SHOP)]
    ledger = Ledger(world.signed)
    taken = ledger.take(items)
    await store.write(partial(tables.save_charter, charter=world.signed))
    await store.write(partial(tables.save_items, items=taken.new))
    dropped = [items[-1].id.bytes[-32:]]
    await store.write(partial(tables.save_items, items=[], dropped=dropped))
    assert len(await loaded(store, world)) == 2


async def test_an_invite_is_kept_and_used(store: Store) -> None:
    row = tables.InviteRow(
        b"i" * 16, hash_of(b"s" * 32), ("member",), 7, b"nonce-00", 1, 2**40, 2, (), frozenset({"removal"})
    )
    await store.write(partial(tables.save_invite, row=row))
    assert await store.read(partial(tables.load_invite, invite=row.id)) == row
    await store.write(partial(tables.use_invite, invite=row.id, used_by=["me"]))
    assert await store.read(tables.load_invites) == [row._replace(used_by=("me",))]
    await store.write(partial(tables.forget_invites, before_ms=2**41))
    assert await store.read(partial(tables.load_invite, invite=row.id)) is None


async def test_a_link_that_is_not_redeemed_is_kept_until_it_is(store: Store) -> None:
    await store.write(partial(tables.save_invited, link="covm-invite:x", entries=[SHOP.inception], own=SHOP.member))
    assert await store.read(tables.load_link) == "covm-invite:x"
    await store.write(tables.forget_link)
    assert await store.read(tables.load_link) is None
