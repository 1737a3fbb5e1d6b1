"""What a node that is no member's any more is shown at the door, where the logs are longer than what may be shown."""

from __future__ import annotations

from tests.unit.membership_world import Coop, World

from covm.federation.membership.aside import Item
from covm.federation.membership.ledger import Ledger, opened_items
from covm.federation.membership.unasked import farewell, is_little
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import MembersGive

MILL, FARM = Coop("Mill"), Coop("Farm")
SHOP = Coop("Shop", others=[1])


def opened(give: MembersGive | None) -> list[Item]:
    assert give is not None
    assert is_little(give)
    return [item for item in opened_items(give) if not isinstance(item, Malformed)]


def told(world: World, peer: str, *already: Item) -> Ledger:
    """What a node makes of its farewell that was there when `already` was all."""
    whole, own = Ledger(world.signed), Ledger(world.signed)
    whole.take([*world.updates, *world.credentials, *world.records])
    own.take(already)
    assert own.standing is not None
    assert own.standing.node_verdict(peer).holds
    assert whole.standing is not None
    own.take(opened(farewell(whole, whole.standing, peer)))
    return own


def holds(ledger: Ledger, peer: str) -> bool:
    assert ledger.standing is not None
    return ledger.standing.node_verdict(peer).holds


def test_a_node_that_its_member_removed_is_shown_the_end_of_the_log() -> None:
    world = World([MILL, FARM])
    world.admitted(SHOP)
    before = SHOP.inception
    for number in range(100):
        before = SHOP.profile(before, f"Shop {number}")
        world.know(before)
    already: list[Item] = [*world.updates, *world.credentials, *world.records]
    world.know(SHOP.remove_node(before, 1))
    own = told(world, SHOP.node(1).peer_id, *already)
    assert not holds(own, SHOP.node(1).peer_id)
    assert holds(own, SHOP.node(0).peer_id)


def test_a_removal_is_shown_with_the_approvals_that_count_and_what_is_before_them() -> None:
    """Of each founder that approved it as much, and nothing of who did not."""
    world = World([MILL, FARM, Coop("Bank"), Coop("Inn")])
    world.admitted(SHOP)
    for number in range(40):
        world.admitted(Coop(f"guest {number}"), by=(0, 1, 2))
    already: list[Item] = [*world.updates, *world.credentials, *world.records]
    world.admitted(Coop("one more"), by=(0, 1, 2))
    world.removed(SHOP, 0, 1, 3)
    world.admitted(Coop("another"), by=(0, 1, 2))
    whole = Ledger(world.signed)
    whole.take([*world.updates, *world.credentials, *world.records])
    assert whole.standing is not None
    own = told(world, SHOP.node(0).peer_id, *already)
    assert not holds(own, SHOP.node(0).peer_id)
    shown = opened(farewell(whole, whole.standing, SHOP.node(0).peer_id))
    assert {each.author for each in shown} == {world.desks[each].node.peer_id for each in (0, 1, 3)}


def test_who_was_never_here_and_who_still_is_are_shown_nothing() -> None:
    world = World([MILL, FARM])
    world.admitted(SHOP)
    ledger = Ledger(world.signed)
    ledger.take([*world.updates, *world.credentials, *world.records])
    assert ledger.standing is not None
    for peer in (SHOP.node(0).peer_id, Coop("Stranger").node(0).peer_id):
        assert farewell(ledger, ledger.standing, peer) is None
