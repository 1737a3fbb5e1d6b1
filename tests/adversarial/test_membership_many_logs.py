"""A founder whose stolen node writes in ever new logs can be removed, and what it approved before stays.

THREATS.md, row *identity* (stolen keys): a cut takes a bounded number of logs.
"""

from __future__ import annotations

import pytest
from tests.property.test_membership_ledger_properties import exchange
from tests.unit.membership_world import NOON_MS, Coop, Desk, World

from covm.federation.membership import ledger as ledger_module
from covm.federation.membership import proposals
from covm.federation.membership.aside import Item
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.proposals import kept_places, nodes_of
from covm.federation.wire.limits import MAX_CUT
from covm.federation.wire.record import Hlc, SignedRecord

MILL, FARM, BANK, GUEST = Coop("Mill"), Coop("Farm"), Coop("Bank"), Coop("Guest")

EARLIER = Hlc(NOON_MS - 1, 0)


@pytest.mark.parametrize("defended", [True, False])
def test_a_removal_keeps_what_is_in_force_where_there_are_more_logs_than_a_cut_takes(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World([MILL, FARM, BANK])
    guest = world.admission(GUEST)
    world.know(GUEST.inception)
    nobody = world.admission(Coop("Nobody")).id
    thief = [Desk(world.federation, FARM.node(0), FARM.inception, life=life) for life in range(1, MAX_CUT + 50)]
    for desk in thief[:-1]:
        world.records.append(desk.approve(nobody, hlc=EARLIER))
    # The latest of all logs, by its own clock as well, is the one that counts.
    world.approve(guest, thief[-1])
    ledger = Ledger(world.signed)
    ledger.take([*world.updates, guest, *world.records])
    assert ledger.standing is not None
    assert ledger.standing.membership(GUEST.member).verdict.holds

    if not defended:
        monkeypatch.setattr(proposals, "MAX_CUT", 10 * MAX_CUT)
    places = kept_places(ledger, ledger.standing, nodes_of(ledger, FARM.member), ())
    assert (len(places) == MAX_CUT) == defended
    if not defended:
        with pytest.raises(ValueError, match="lists"):
            world.removed(FARM, 0, 2, cut=places)
        return
    world.removed(FARM, 0, 2, cut=places)
    ledger.take([*world.credentials[-1:], *world.records[-2:]])
    assert not ledger.standing.membership(FARM.member).verdict.holds
    assert ledger.standing.membership(GUEST.member).verdict.holds


@pytest.mark.parametrize("defended", [True, False])
def test_what_a_cut_keeps_has_its_place_however_much_a_thief_has_approved(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_APPROVALS", 20)
    if not defended:
        monkeypatch.setattr(Ledger, "_makes_room", lambda *_: False)
    mill = Coop("Mill", approvers=(0, 1))
    world = World([mill])
    world.admitted(GUEST)
    honest: list[Item] = [*world.updates, *world.credentials, *world.records]

    def junk(first: int, count: int) -> list[SignedRecord]:
        desks = [Desk(world.federation, mill.node(0), mill.inception, life=first + number) for number in range(count)]
        return [desk.approve(world.federation) for desk in desks]

    early, late = Ledger(world.signed), Ledger(world.signed)
    early.take([*honest, *junk(100, 19)])
    late.take([*world.updates, *junk(200, 20)])
    late.take(honest)
    both = [early, late]

    def exchanged() -> None:
        for _ in range(4):
            exchange(early, late)
            exchange(late, early)

    exchanged()
    removal = mill.remove_node(mill.inception, 0, [world.desks[0].tip])
    for each in both:
        each.take([removal])
    exchanged()
    assert early.standing
    assert early.standing.membership(GUEST.member).verdict.holds
    assert late.standing
    assert late.standing.membership(GUEST.member).verdict.holds is defended
    again = Ledger(world.signed, stored=list(late.items()))
    again.take(late.items())
    assert again.standing
    assert again.standing.membership(GUEST.member).verdict.holds is defended
