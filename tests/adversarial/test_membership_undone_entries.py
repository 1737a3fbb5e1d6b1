"""A thief of a member's key that signs without end makes nothing undone that was approved while the key was good.

THREATS.md, row *identity* (stolen keys).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.unit.membership_world import Coop, World

from covm.federation.identity import log as log_rules
from covm.federation.identity.log import MAX_HELD
from covm.federation.identity.update import SignedUpdate
from covm.federation.membership.aside import Item
from covm.federation.membership.ledger import Ledger
from covm.federation.wire.limits import MAX_IDENTITY_DEPTH

MILL, GUEST = Coop("Mill"), Coop("Guest")


class Theft:
    """The mill's node approves a guest when `named` is the newest entry; the owner recovers from before it.

    So the entry that the approval names has lost, and the old key, stolen, signs more behind it than anybody holds.
    """

    def __init__(self) -> None:
        self.named = MILL.profile(MILL.inception, "Mill and Bakery")
        self.world = World([MILL])
        self.world.know(self.named)
        self.world.desks[0].identity = self.named.id
        self.world.admitted(GUEST)
        self.world.know(MILL.recover(MILL.inception, by=0, to=5))
        self.junk: list[SignedUpdate] = []
        before = MILL.inception
        for number in range(MAX_HELD + 300):
            before = MILL.inception if number % (MAX_IDENTITY_DEPTH - 2) == 0 else before
            before = MILL.profile(before, f"junk {number}")
            self.junk.append(before)

    @property
    def honest(self) -> list[Item]:
        return [*self.world.updates, *self.world.credentials, *self.world.records]

    def admits(self, ledger: Ledger, offers: Sequence[Sequence[Item]]) -> bool:
        for offer in offers:
            ledger.take(offer)
        assert ledger.standing is not None
        return ledger.standing.membership(GUEST.member).verdict.holds


@pytest.fixture(scope="module")
def theft() -> Theft:
    return Theft()


@pytest.mark.parametrize("defended", [True, False])
def test_an_approval_counts_whatever_a_thief_adds_to_the_branch_that_lost(
    theft: Theft, defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(log_rules, "_PINNED", 0)
    assert theft.admits(Ledger(theft.world.signed), [theft.honest])
    flood = [theft.junk[at : at + 64] for at in range(0, len(theft.junk), 64)]
    ledger = Ledger(theft.world.signed)
    assert theft.admits(ledger, [theft.honest, *flood]) == defended
    assert len(ledger) < MAX_HELD
    assert theft.admits(Ledger(theft.world.signed), [[MILL.inception], *flood, theft.honest])


@pytest.mark.parametrize("is_told", [True, False])
def test_it_counts_as_well_where_all_is_read_from_the_store(theft: Theft, is_told: bool) -> None:
    """Entries are read before the approvals that name them, and more may be stored than is held."""
    stored: list[Item] = [*theft.world.updates, *theft.junk, *theft.world.credentials, *theft.world.records]
    ledger = Ledger(theft.world.signed, stored=stored if is_told else ())
    assert theft.admits(ledger, [stored]) == is_told
