"""Records of any type: whether what a member's node wrote counts, by its credential, its roles and the cuts."""

from __future__ import annotations

from tests.unit.membership_world import Coop, Desk, World, plain_rule

from covm._native import Link
from covm.federation.identity.authors import beginning, judge_author
from covm.federation.identity.cuts import CutIndex
from covm.federation.identity.identities import Identities
from covm.federation.identity.verdicts import Status, Verdict
from covm.federation.wire.record import Place, SignedRecord, place_of

ASH, BIRCH, CEDAR, DILL, ELM = (Coop(name) for name in ("Ash", "Birch", "Cedar", "Dill", "Elm"))


def three(k: int = 1) -> World:
    return World([ASH, BIRCH, CEDAR], k)


def verdict_on(world: World, record: SignedRecord, *before: SignedRecord) -> Verdict:
    """What becomes of a record, behind others in its log."""
    history = OneLog([*before, record])
    cuts, identities, seq = CutIndex(history), Identities(world.updates), 0
    begun = beginning(history.records[0].body, identities)
    written, previous = None, None
    for each in history.records:
        written = judge_author(each, previous, begun, seq, identities, cuts)
        previous, seq = each.body.hlc, written.seq
    assert written is not None
    return world.standing().record_verdict(record, begun, written, cuts)


class OneLog:
    """The history of one log without forks."""

    def __init__(self, records: list[SignedRecord]) -> None:
        self.records = records

    def reaches(self, place: Place, record: Link) -> bool:
        ids = [each.id for each in self.records]
        return place.id in ids and record in ids[: ids.index(place.id) + 1]


def test_a_record_counts_by_the_roles_of_the_credential_of_its_log() -> None:
    world = three()
    admission = world.admitted(DILL)
    desk = Desk(world.federation, DILL.node(0), DILL.inception, under=admission.id)
    vote = desk.approve(ELM.member, type="governance.vote", key="oven")
    assert verdict_on(world, vote).holds
    founder = Desk(world.federation, ASH.node(0), ASH.inception).approve(ELM.member, type="governance.vote", key="oven")
    assert verdict_on(world, founder).holds
    entry = Desk(world.federation, DILL.node(0), DILL.inception, under=admission.id).approve(
        ELM.member, type="accounts.entry", key="1"
    )
    assert "only bookkeeper may write accounts.entry" in verdict_on(world, entry).reason
    world.approve(world.admission(DILL, ["bookkeeper"]), 0)
    assert verdict_on(world, entry).status is Status.VOID


def test_who_has_several_admissions_writes_under_the_one_that_suffices() -> None:
    world = three()
    plain = world.admitted(DILL)
    books = world.admission(DILL, ["bookkeeper"])
    assert "only bookkeeper may write" in str(world.standing().credential_to_write(DILL.member, "accounts.entry"))
    world.approve(books, 0)
    standing = world.standing()
    assert standing.credential_to_write(DILL.member, "accounts.entry") == books.id
    assert standing.credential_to_write(DILL.member, "governance.vote") in (plain.id, books.id)
    assert standing.credential_to_write(ASH.member, "governance.vote") == world.federation
    assert "not a member" in str(standing.credential_to_write(ELM.member, "governance.vote"))


def test_a_removed_members_records_count_within_the_cut_whatever_their_dates() -> None:
    world = three()
    admission = world.admitted(DILL)
    desk = Desk(world.federation, DILL.node(0), DILL.inception, under=admission.id)
    early = desk.approve(ELM.member, type="governance.vote", key="oven")
    late = desk.approve(ELM.member, type="governance.vote", key="oven")
    world.removed(DILL, 0, 1, cut=[place_of(early)])
    assert verdict_on(
        world,
        early,
    ).holds
    assert verdict_on(world, late, early) == Verdict(Status.VOID, "its member was removed, and it is beyond the cut")


def test_a_record_waits_for_its_authors_admission() -> None:
    world = three(k=2)
    admission = world.admitted(DILL)
    desk = Desk(world.federation, DILL.node(0), DILL.inception, under=admission.id)
    vote = desk.approve(ELM.member, type="governance.vote", key="oven")
    assert verdict_on(world, vote).missing == (admission.id,)
    world.approve(admission, 1)
    assert verdict_on(world, vote).holds


def test_owned_types_are_written_by_their_owner() -> None:
    world = three()
    owned = world.type("governance.offer", plain_rule(writers="owner"))
    world.approve(owned, 0, 1)
    desk = Desk(world.federation, ASH.node(0), ASH.inception)
    mine = desk.approve(ELM.member, type="governance.offer", key=f"{ASH.member}/bread")
    assert verdict_on(world, mine).holds
    theirs = Desk(world.federation, ASH.node(0), ASH.inception).approve(
        ELM.member, type="governance.offer", key=f"{BIRCH.member}/bread"
    )
    assert "by owners alone" in verdict_on(world, theirs).reason
