"""What one member, or those whom it proposes, can put into everybody's ledger is bounded.

THREATS.md, rows *peers* and *sync* (amplification).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from tests.unit.membership_world import Coop, World, key_of, plain_rule, salt

from covm import _native
from covm.federation.identity.credentials import Admission, Credential, Removal, open_credentials, seal_credential
from covm.federation.identity.cuts import make_cut
from covm.federation.membership import aside
from covm.federation.membership import ledger as ledger_rules
from covm.federation.membership.aside import Item, item_id
from covm.federation.membership.ledger import Ledger
from covm.federation.wire.record import Place

MILL, FARM, SHOP = Coop("Mill"), Coop("Farm"), Coop("Shop")


class Scene:
    """A federation with a shop in it that lies, and a ledger that knows so far only what is true."""

    def __init__(self) -> None:
        self.world = World([MILL, FARM])
        self.world.admitted(SHOP)
        self.ledger = Ledger(self.world.signed)
        self.ledger.take([*self.world.updates, *self.world.credentials, *self.world.records])
        self.honest = len(self.ledger)

    def proposal(self, member: Coop, by: Coop = SHOP, number: int = 0) -> Item:
        """An admission that a node of somebody proposes, and nobody approves."""
        return self.sealed(
            by,
            Admission(**self._common(by, f"{member.name} {number}"), member=member.member, roles=("member",), after=()),
        )

    def removal(self, places: Sequence[Place], by: Coop = SHOP) -> Item:
        return self.sealed(
            by, Removal(**self._common(by, "removal"), member=FARM.member, reason="", cut=make_cut(places))
        )

    def sealed(self, by: Coop, credential: Credential) -> Any:
        [found] = open_credentials([seal_credential(by.node(0), credential)])
        return found

    def _common(self, by: Coop, text: str) -> dict[str, Any]:
        return {"federation": self.world.federation, "author": by.node(0).peer_id, "salt": salt(text), "proposed_at": 0}

    def takes(self, items: Iterable[Item]) -> int:
        """How many of them are held in the end."""
        offered = list(items)
        self.ledger.take(offered)
        return sum(self.ledger.get(item_id(each)) is not None for each in offered)


def nobodies(count: int) -> list[Coop]:
    return [Coop(f"Nobody {number}") for number in range(count)]


def test_who_is_merely_proposed_proposes_nobody() -> None:
    scene = Scene()
    first, second = nobodies(2)
    assert scene.takes([scene.proposal(first), first.inception]) == 2
    assert scene.takes([scene.proposal(second, by=first), second.inception]) == 0
    # Once an elector has approved the first, it may.
    scene.world.approve(scene.proposal(first), 0)  # type: ignore[arg-type]
    assert scene.takes([scene.world.records[-1]]) == 1
    assert scene.ledger.get(item_id(scene.proposal(second, by=first))) is not None


def test_of_who_is_merely_proposed_the_inception_is_taken_and_the_rest_once_somebody_approves() -> None:
    scene = Scene()
    [nobody] = nobodies(1)
    renamed = nobody.profile(nobody.inception, "Somebody")
    thousands = [nobody.profile(nobody.inception, f"Name {number}") for number in range(50)]
    proposal = scene.proposal(nobody)
    assert scene.takes([proposal, nobody.inception, renamed, *thousands]) == 2
    scene.world.approve(proposal, 0)  # type: ignore[arg-type]
    scene.takes([scene.world.records[-1]])
    assert scene.ledger.get(item_id(renamed)) is not None


@pytest.mark.parametrize("defended", [True, False])
def test_proposals_of_all_nodes_of_a_member_are_counted_together(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_rules, "MAX_PROPOSALS", 10 if defended else 10**9)
    scene = Scene()
    added = SHOP.add_node(SHOP.inception, 1)
    scene.takes([added])
    other = Coop("Shop")
    other.node = lambda number: SHOP.node(1 - number)  # type: ignore[method-assign]
    made = [scene.proposal(each, by=by) for each in nobodies(20) for by in (SHOP, other)]
    assert len({each.author for each in made}) == 2
    assert scene.takes(made) == (10 if defended else 40)


def test_who_was_named_by_a_proposal_alone_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_rules, "MAX_PROPOSALS", 1)
    scene = Scene()
    made = sorted([(scene.proposal(each), each) for each in nobodies(5)], key=lambda pair: item_id(pair[0]))
    for proposal, nobody in reversed(made):
        scene.takes([proposal, nobody.inception])
        assert len(scene.ledger) == scene.honest + 2
        assert len(scene.ledger.identities) == 4
    # The highest, let go at once, is there all the same when somebody approves it.
    proposal, nobody = made[-1]
    scene.world.approve(proposal, 0)  # type: ignore[arg-type]
    assert scene.takes([scene.world.records[-1], proposal, nobody.inception]) == 3


@pytest.mark.parametrize("defended", [True, False])
def test_a_large_proposal_waits_for_an_approval(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    logs = [_native.cid(b"%d" % number) for number in range(300)]
    places = [Place(log, 1, log) for log in logs]
    large = scene.removal(places)
    assert len(large.envelope) > ledger_rules.MAX_PROPOSED
    if not defended:
        monkeypatch.setattr(ledger_rules, "MAX_PROPOSED", 10**9)
    assert scene.takes([large]) == (0 if defended else 1)
    scene.world.approve(large, 0)  # type: ignore[arg-type]
    assert scene.takes([scene.world.records[-1], large]) == 2


@pytest.mark.parametrize("defended", [True, False])
def test_entries_behind_what_nobody_has_wait_in_one_bounded_room(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if defended:
        monkeypatch.setattr(aside, "MAX_ASIDE", 30)
    scene = Scene()
    thief = key_of("thief")
    lost = MILL.profile(MILL.inception, "Never shown", thief)
    of_another = SHOP.profile(MILL.inception, "Behind another member's", thief)
    junk = [MILL.profile(lost, f"Junk {number}", thief) for number in range(100)]
    assert scene.takes([of_another, *junk]) == 0
    assert len(scene.ledger._aside) == (30 if defended else 101)
    for log in scene.ledger.identities:
        assert log.missing() == []
    assert scene.takes([MILL.profile(MILL.inception, "Mill and sons")]) == 1


@pytest.mark.parametrize("defended", [True, False])
@pytest.mark.parametrize("room", ["MAX_ITEMS", "MAX_BYTES"])
def test_proposals_fill_half_of_the_room_and_the_rest_is_for_what_is_approved(
    room: str, defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(ledger_rules, "PROPOSED_SHARE", 1.0)
    scene = Scene()
    limit = 2 * (scene.honest + 5) if room == "MAX_ITEMS" else 2 * (scene.ledger._size_bytes + 2_000)
    monkeypatch.setattr(ledger_rules, room, limit)
    assert (0 < scene.takes(scene.proposal(each) for each in nobodies(50)) < 10) == defended
    rule = scene.world.type("tools.loan", plain_rule())
    scene.world.approve(rule, 0, 1)
    assert (scene.takes([rule, *scene.world.records[-2:]]) == 3) == defended


@pytest.mark.parametrize("defended", [True, False])
def test_an_elector_that_approves_without_end_leaves_room_for_its_removal(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    monkeypatch.setattr(ledger_rules, "MAX_APPROVALS", 10 if defended else 10**9)
    monkeypatch.setattr(ledger_rules, "MAX_ITEMS", scene.honest + 50)
    before = len(scene.world.records)
    for _ in range(100):
        scene.world.approve(scene.proposal(SHOP), 1)  # type: ignore[arg-type]
    scene.takes(scene.world.records[before:])
    removal = scene.world.removed(FARM, 0)
    assert scene.takes([removal, scene.world.records[-1]]) == (2 if defended else 0)
    assert scene.ledger.may_approve_more(MILL.member) == defended
    assert not scene.ledger.may_approve_more(FARM.member)


@pytest.mark.parametrize("size", [1, 7])
def test_a_room_that_is_full_lets_the_oldest_go(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    made = [scene.proposal(each, by=Coop("Stranger")) for each in nobodies(20)]
    monkeypatch.setattr(aside, "MAX_ASIDE_BYTES", sum(len(each.envelope) for each in made[-size:]))
    for each in made:
        scene.takes([each])
    assert list(scene.ledger._aside._waiting) == [item_id(each) for each in made[-size:]]
    assert scene.ledger._aside._size_bytes == sum(len(each.envelope) for each in made[-size:])
