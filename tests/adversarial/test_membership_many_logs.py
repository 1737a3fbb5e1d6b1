"""A founder whose stolen node writes in ever new logs can be removed, and what it approved before stays.

THREATS.md, row *identity* (stolen keys): a cut takes a bounded number of logs.
"""

from __future__ import annotations

import pytest
from tests.unit.membership_world import NOON_MS, Coop, Desk, World

from covm.federation.membership import proposals
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.proposals import kept_places, nodes_of
from covm.federation.wire.limits import MAX_CUT
from covm.federation.wire.record import Hlc

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
