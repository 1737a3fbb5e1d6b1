"""Who is a member: admissions, removals, re-admissions and types, and what is said of those that do not count."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.membership_world import Coop, Desk, World, plain_rule

from covm.federation.identity.credentials import decode_credential, encode_credential
from covm.federation.identity.roles import Action, Grants
from covm.federation.identity.verdicts import Status, Verdict
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import Place

ASH, BIRCH, CEDAR, DILL, ELM = (Coop(name) for name in ("Ash", "Birch", "Cedar", "Dill", "Elm"))


def three(k: int = 1) -> World:
    return World([ASH, BIRCH, CEDAR], k)


# --- admissions


def test_founders_are_members_and_strangers_are_not() -> None:
    standing = three().standing()
    assert {each.member for each in standing.members()} == {ASH.member, BIRCH.member, CEDAR.member}
    assert standing.membership(ASH.member).admissions == (standing.federation,)
    stranger = standing.membership(DILL.member)
    assert (stranger.verdict.status, stranger.roles) == (Status.REFUSED, frozenset())
    assert standing.node_verdict(DILL.node(0).peer_id).status is Status.REFUSED


def test_one_elector_admits_a_member_and_its_nodes() -> None:
    world = three()
    credential = world.admitted(DILL)
    standing = world.standing()
    assert standing.verdict(credential.id).holds
    assert standing.approvers(credential.id) == {ASH.member}
    assert standing.node_verdict(DILL.node(0).peer_id).holds
    assert standing.nodes[DILL.node(0).peer_id].member == DILL.member


def test_with_k_above_one_it_takes_as_many_electors_and_not_as_many_nodes() -> None:
    twice = Coop("Fir", approvers=(0, 1))
    world = World([twice, BIRCH, CEDAR], k=2)
    credential = world.admission(DILL)
    world.approve(credential, 0, Desk(world.federation, twice.node(1), twice.inception))
    assert world.standing().verdict(credential.id) == Verdict(
        Status.WAITING, "it has 1 of the 2 approvals that it takes"
    )
    assert world.standing().threshold(credential.id) == 2
    assert world.standing().threshold(DILL.member) is None
    world.approve(credential, 1)
    assert world.standing().verdict(credential.id).holds


def test_roles_are_those_of_all_admissions_that_stand() -> None:
    world = three()
    world.admitted(DILL)
    assert world.standing().membership(DILL.member).roles == {"member"}
    world.approve(world.admission(DILL, ["bookkeeper"]), 1)
    assert world.standing().membership(DILL.member).roles == {"member", "bookkeeper"}


def test_an_admission_to_a_role_that_does_not_exist_never_counts() -> None:
    world = three()
    credential = world.admission(DILL, ["chair"])
    [approval] = world.approve(credential, 0)
    standing = world.standing()
    assert standing.verdict(credential.id).status is Status.REFUSED
    assert "no role chair; its roles are bookkeeper, member" in standing.verdict(credential.id).reason
    assert standing.approval_verdict(approval.id).status is Status.VOID
    assert not world.is_in(DILL)


def test_a_credential_of_another_federation_never_counts() -> None:
    world, other = three(), World([ASH], 1)
    foreign = other.admission(DILL)
    world.credentials.append(foreign)
    world.approve(foreign, 0)
    assert "another federation" in world.standing().verdict(foreign.id).reason


def test_members_that_are_no_founders_admit_nobody() -> None:
    world = three()
    admission = world.admitted(DILL)
    desk = Desk(world.federation, DILL.node(0), DILL.inception, under=admission.id)
    credential = world.admission(ELM)
    [approval] = world.approve(credential, desk)
    standing = world.standing()
    assert standing.approval_verdict(approval.id) == Verdict(Status.VOID, "its member is no elector")
    assert not standing.membership(ELM.member).verdict.holds


# --- removals


def test_a_removal_takes_over_half_of_the_founders() -> None:
    world = three()
    world.admitted(DILL)
    removal = world.removed(DILL, 0)
    assert world.is_in(DILL)
    assert "1 of the 2" in world.standing().verdict(removal.id).reason
    world.approve(removal, 2)
    standing = world.standing()
    gone = standing.membership(DILL.member)
    assert (gone.verdict.status, gone.roles, gone.removals) == (Status.ENDED, frozenset(), (removal.id,))
    assert gone.verdict.reason == "the member was removed (has closed)"
    assert standing.node_verdict(DILL.node(0).peer_id) == gone.verdict


def test_a_founder_is_removed_by_over_half_of_the_others() -> None:
    world = three()
    removal = world.removed(ASH, 1)
    assert world.is_in(ASH)
    world.approve(removal, 2)
    assert not world.is_in(ASH)


def test_nobody_has_a_say_in_its_own_removal() -> None:
    world = three()
    removal = world.removal(ASH)
    approvals = world.approve(removal, 0, 1)
    standing = world.standing()
    assert world.is_in(ASH)
    assert standing.approval_verdict(approvals[0].id) == Verdict(Status.VOID, "nobody has a say in its own removal")
    assert "1 of the 2" in standing.verdict(removal.id).reason


def test_the_only_founder_cannot_be_removed() -> None:
    world = World([ASH])
    removal = world.removed(ASH, 0)
    assert world.standing().verdict(removal.id).status is Status.REFUSED
    assert world.is_in(ASH)


def test_two_that_remove_each_other_are_both_out_in_either_order() -> None:
    for order in ((0, 1), (1, 0)):
        world = World([ASH, BIRCH])
        for remover in order:
            world.removed((BIRCH, ASH)[remover], remover)
        assert not world.is_in(ASH)
        assert not world.is_in(BIRCH)


def test_a_removed_elector_removes_still() -> None:
    world = three()
    world.removed(ASH, 1, 2)
    removal = world.removed(BIRCH, 0)
    world.approve(removal, 2)
    assert not world.is_in(BIRCH)


def test_a_removed_electors_admissions_count_within_the_cut_alone() -> None:
    world = three()
    world.admitted(DILL, by=[0])
    cut = [world.desks[0].tip]
    world.admitted(ELM, by=[0])
    world.removed(ASH, 1, 2, cut=cut)
    standing = world.standing()
    assert world.is_in(DILL)
    assert not world.is_in(ELM)
    late = standing.approval_verdict(world.desks[0].written[1].id)
    assert late == Verdict(Status.VOID, "its elector was removed, and it is beyond the cut")


def test_a_removal_with_a_cut_for_logs_that_do_not_exist_leaves_nothing() -> None:
    world = three()
    credential = world.admitted(DILL, by=[0])
    tip = world.desks[0].tip
    false = [Place(credential.id, 3, tip.id), Place(tip.log, tip.seq, credential.id)]
    world.removed(ASH, 1, 2, cut=false)
    assert not world.is_in(DILL)
    assert not world.is_in(ASH)


def test_several_cuts_bind_together() -> None:
    world = three()
    world.admitted(DILL, by=[0])
    short = [world.desks[0].tip]
    world.admitted(ELM, by=[0])
    long = [world.desks[0].tip]
    world.removed(ASH, 1, 2, cut=long)
    assert (world.is_in(DILL), world.is_in(ELM)) == (True, True)
    world.removed(ASH, 1, 2, cut=short)
    assert (world.is_in(DILL), world.is_in(ELM)) == (True, False)


# --- coming back


def test_a_member_comes_back_by_an_admission_that_names_its_removal() -> None:
    world = three()
    first = world.admitted(DILL)
    removal = world.removed(DILL, 0, 1)
    unaware = world.admission(DILL)
    world.approve(unaware, 0)
    assert not world.is_in(DILL)
    assert world.standing().verdict(unaware.id).status is Status.ENDED
    back = world.admission(DILL, after=[removal])
    world.approve(back, 0)
    membership = world.standing().membership(DILL.member)
    assert membership.admissions == (back.id,)
    assert membership.removals == (removal.id,)
    assert world.standing().verdict(first.id).status is Status.ENDED


def test_a_second_removal_ends_the_second_admission() -> None:
    world = three()
    world.admitted(DILL)
    removal = world.removed(DILL, 0, 1)
    world.approve(world.admission(DILL, after=[removal]), 0)
    world.removed(DILL, 0, 1)
    assert not world.is_in(DILL)


def test_an_elector_that_came_back_admits_in_a_new_log_under_its_new_admission() -> None:
    world = three()
    removal = world.removed(ASH, 1, 2)
    back = world.admission(ASH, after=[removal])
    world.approve(back, 1)
    old, new = world.desks[0], Desk(world.federation, ASH.node(0), ASH.inception, under=back.id, life=2)
    world.approve(world.admission(DILL), old)
    world.approve(world.admission(ELM), new)
    world.know(DILL.inception, ELM.inception)
    assert (world.is_in(ASH), world.is_in(DILL), world.is_in(ELM)) == (True, False, True)


def test_a_removed_elector_does_not_let_itself_in_again() -> None:
    """Its approval rests on the admission that it approves: neither stands by the other."""
    world = three()
    removal = world.removed(ASH, 1, 2)
    back = world.admission(ASH, after=[removal])
    approvals = world.approve(back, 0, Desk(world.federation, ASH.node(0), ASH.inception, under=back.id, life=2))
    standing = world.standing()
    assert not world.is_in(ASH)
    assert standing.approval_verdict(approvals[0].id).status is Status.VOID
    assert standing.approval_verdict(approvals[1].id).missing == (back.id,)


def test_two_removed_electors_do_not_let_each_other_in() -> None:
    world = World([ASH, BIRCH, CEDAR, ELM])
    out = [world.removed(ASH, 1, 2, 3), world.removed(BIRCH, 0, 2, 3)]
    back = [world.admission(coop, after=[gone]) for coop, gone in zip((ASH, BIRCH), out, strict=True)]
    for coop, mine, theirs in ((ASH, back[0], back[1]), (BIRCH, back[1], back[0])):
        world.approve(theirs, Desk(world.federation, coop.node(0), coop.inception, under=mine.id, life=2))
    assert not world.is_in(ASH)
    assert not world.is_in(BIRCH)
    world.approve(back[0], 2)
    assert world.is_in(ASH)
    assert world.is_in(BIRCH)


# --- types


def test_a_type_takes_a_majority_and_is_immutable() -> None:
    world = three()
    rule, other = plain_rule(size_limit_bytes=1), plain_rule(size_limit_bytes=2)
    first = world.type("tools.loan", rule)
    world.approve(first, 0)
    assert world.standing().type_rule("tools.loan") == world.signed.charter.default_rule
    world.approve(first, 1)
    second = world.type("tools.loan", other)
    world.approve(second, 0, 2)
    standing = world.standing()
    winner, loser = sorted((first, second), key=lambda each: each.id.bytes)
    assert standing.verdict(winner.id).holds
    assert standing.verdict(loser.id).status is Status.VOID
    assert standing.type_rule("tools.loan") == (rule if winner is first else other)
    assert standing.type_rule("tools.loan.more") == world.signed.charter.default_rule


def test_the_charters_types_are_for_good() -> None:
    world = three()
    credential = world.type("accounts.entry", plain_rule())
    world.approve(credential, 0, 1, 2)
    assert world.standing().verdict(credential.id).status is Status.REFUSED
    assert world.standing().type_rule("accounts.entry").grants is not None


def test_a_type_with_grants_for_a_role_that_does_not_exist_never_counts() -> None:
    world = three()
    credential = world.type("tools.loan", plain_rule(grants=Grants(read=("chair",))))
    world.approve(credential, 0, 1)
    assert "no role chair" in world.standing().verdict(credential.id).reason


# --- what they may


def test_what_a_node_may_follows_from_its_members_roles() -> None:
    world = three()
    world.admitted(DILL)
    node = DILL.node(0).peer_id
    standing = world.standing()
    assert standing.may(node, Action.WRITE, "governance.vote").holds
    denied = standing.may(node, Action.READ, "accounts.entry")
    assert denied == Verdict(
        Status.REFUSED, "the roles member do not allow it: only bookkeeper may read accounts.entry"
    )
    assert not standing.everyone_may_read("accounts.entry")
    assert standing.everyone_may_read("governance.vote")
    world.removed(DILL, 0, 1)
    assert world.standing().may(node, Action.WRITE, "governance.vote").status is Status.ENDED
    assert world.standing().may(ELM.node(0).peer_id, Action.READ, "governance.vote").status is Status.REFUSED


def test_who_may_read_what_only_some_may() -> None:
    world = three()
    world.admitted(DILL, ["bookkeeper"])
    world.admitted(ELM)
    assert world.standing().nodes_that_may(Action.READ, "accounts.entry") == [DILL.node(0).peer_id]
    assert len(world.standing().nodes_that_may(Action.READ, "governance.vote")) == 5
    world.removed(DILL, 0, 1)
    assert world.standing().nodes_that_may(Action.READ, "accounts.entry") == []


def test_a_node_of_two_members_is_that_of_the_one_that_is_in() -> None:
    node = DILL.node(0).peer_id
    shared = msgspec.structs.replace(
        ELM.add_node(ELM.inception, 5).body,
        node=msgspec.structs.replace(DILL.node_entry(0, of=ELM.key(0).peer_id), approver=False),
    )
    world = three()
    world.admitted(DILL)
    world.admitted(ELM)
    world.know(ELM.signed(shared, ELM.key(0)))
    lowest = min((DILL, ELM), key=lambda coop: coop.member.bytes)
    other = ELM if lowest is DILL else DILL
    assert world.standing().nodes[node].member == lowest.member
    world.removed(lowest, 0, 1)
    assert world.standing().nodes[node].member == other.member


def test_a_node_that_its_member_removed_takes_part_no_longer() -> None:
    world = three()
    world.know(ASH.remove_node(ASH.inception, 0))
    verdict = world.standing().node_verdict(ASH.node(0).peer_id)
    assert verdict.status is Status.ENDED
    assert "was removed by its member" in verdict.reason


# --- the form


def test_credentials_come_back_and_what_does_not_fit_is_refused() -> None:
    world = three()
    for signed in (world.admission(DILL), world.removal(DILL), world.type("a.b", plain_rule())):
        assert decode_credential(encode_credential(signed.body)) == signed.body
    admission = world.admission(DILL).body
    for wrong in ({"roles": ("member", "bookkeeper")}, {"roles": ()}, {"salt": b""}, {"after": (DILL.member,) * 2}):
        with pytest.raises(ValueError, match="credential"):
            encode_credential(msgspec.structs.replace(admission, **wrong))
    with pytest.raises(ValueError, match="no type name"):
        encode_credential(msgspec.structs.replace(world.credentials[2].body, name="system.approval"))
    with pytest.raises(Malformed):
        decode_credential(b"\xa0")
