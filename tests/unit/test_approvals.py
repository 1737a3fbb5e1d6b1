"""Approvals: who may give them, what a thief of a node's key can do, and records that are none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.membership_world import NOON_MS, Coop, Desk, World, salt, signed_record

from covm.federation.identity.approvals import ApprovalLogs, draft_approval
from covm.federation.identity.verdicts import Status, Verdict
from covm.federation.wire.record import Auth, Hlc, Place, SignedRecord, decode_record_body, encode_record_body

ASH, BIRCH, DILL = Coop("Ash", approvers=(0, 1), others=(2,)), Coop("Birch"), Coop("Dill")


def world() -> World:
    return World([ASH, BIRCH])


def verdict_on(story: World, record: SignedRecord) -> Verdict:
    return story.standing().approval_verdict(record.id)


# --- who approves


def test_a_node_that_is_no_approver_approves_nothing() -> None:
    story = world()
    [approval] = story.approve(story.admission(DILL), Desk(story.federation, ASH.node(2), ASH.inception))
    assert "is no approver of its member" in verdict_on(story, approval).reason
    assert not story.is_in(DILL)


def test_a_stranger_that_names_an_electors_entry_approves_nothing() -> None:
    story = world()
    [approval] = story.approve(story.admission(DILL), Desk(story.federation, DILL.node(0), ASH.inception))
    assert "no node of member" in verdict_on(story, approval).reason


def test_an_approval_waits_for_the_identity_entry_that_it_names() -> None:
    story = world()
    added = ASH.add_node(ASH.inception, 3)
    [approval] = story.approve(story.admission(DILL), Desk(story.federation, ASH.node(3), added))
    assert (verdict_on(story, approval).status, verdict_on(story, approval).missing) == (Status.WAITING, (added.id,))
    story.know(added)
    assert verdict_on(story, approval).holds
    assert story.is_in(DILL)


def test_an_approval_waits_for_what_it_approves() -> None:
    story = world()
    credential = story.admission(DILL)
    [approval] = story.approve(credential, 0)
    story.credentials.clear()
    assert verdict_on(story, approval).missing == (credential.id,)
    assert story.standing().verdict(credential.id).missing == (credential.id,)


# --- stolen keys


def test_a_stolen_node_key_is_revoked_from_a_stated_point() -> None:
    """The thief writes on, also with old dates and under old entries: all of it is beyond the cut."""
    story = world()
    honest, stolen = story.admission(DILL), story.admission(Coop("Mole"))
    desk = story.desks[0]
    story.approve(honest, desk)
    cut = [desk.tip]
    [theft] = story.approve(stolen, desk)
    fork = Desk(story.federation, ASH.node(0), ASH.inception)
    story.approve(honest, fork)
    story.records.append(fork.approve(stolen, hlc=Hlc(NOON_MS, 5)))
    fresh = Desk(story.federation, ASH.node(0), ASH.inception, life=9)
    story.approve(stolen, fresh)
    assert story.standing().verdict(stolen.id).holds
    story.know(ASH.remove_node(ASH.inception, 0, cut))
    standing = story.standing()
    assert standing.verdict(honest.id).holds
    assert standing.verdict(stolen.id).status is Status.WAITING
    assert "removed by member" in standing.approval_verdict(theft.id).reason
    assert standing.approval_verdict(fresh.written[0].id).status is Status.VOID


def test_an_elector_takes_back_what_its_node_approved() -> None:
    story = world()
    story.approve(story.admission(DILL), 0)
    story.know(ASH.remove_node(ASH.inception, 0))
    assert not story.is_in(DILL)


def test_the_cut_of_one_node_binds_no_other() -> None:
    story = world()
    story.approve(story.admission(DILL), 0)
    story.know(ASH.remove_node(ASH.inception, 1))
    assert story.is_in(DILL)


def test_a_node_that_was_added_again_goes_on_in_a_new_log() -> None:
    story = world()
    removed = ASH.remove_node(ASH.inception, 0)
    again = ASH.add_node(removed, 0)
    story.know(removed, again)
    old, new = story.desks[0], Desk(story.federation, ASH.node(0), again, life=2)
    [late] = story.approve(story.admission(DILL), old)
    assert verdict_on(story, late).status is Status.VOID
    [early] = story.approve(story.credentials[0], Desk(story.federation, ASH.node(0), removed, life=3))
    assert "no node of member" in verdict_on(story, early).reason
    story.approve(story.credentials[0], new)
    assert story.is_in(DILL)


def test_a_log_does_not_step_over_a_removal_by_naming_newer_entries() -> None:
    story = world()
    credential = story.admission(DILL)
    removed = ASH.remove_node(ASH.inception, 0)
    again = ASH.add_node(removed, 0)
    story.know(removed, again)
    desk = story.desks[0]
    story.records.append(desk.approve(DILL.member))
    story.records.append(desk.approve(credential, auth=Auth(story.federation, again.id)))
    assert "beyond the cut" in verdict_on(story, story.records[-1]).reason


def test_what_a_thief_of_the_member_key_added_approves_nothing_once_recovered() -> None:
    story = world()
    theft = ASH.add_node(ASH.inception, 9)
    story.know(theft)
    credential = story.admission(DILL)
    [approval] = story.approve(credential, Desk(story.federation, ASH.node(9), theft))
    assert story.standing().verdict(credential.id).holds
    story.know(ASH.recover(ASH.inception, by=0, to=5))
    assert story.standing().verdict(credential.id).status is Status.WAITING
    assert "no node of member" in verdict_on(story, approval).reason


def test_an_elector_by_a_losing_branch_speaks_as_at_the_fork() -> None:
    story = world()
    renamed = ASH.profile(ASH.inception, "Ash & Rye")
    story.know(renamed, ASH.rotate(ASH.inception, 1))
    story.approve(story.admission(DILL), Desk(story.federation, ASH.node(1), renamed))
    assert story.is_in(DILL)


# --- along a log


def spoilt(story: World, **changes: Any) -> Verdict:
    """What becomes of an approval that has these changes, behind a sound one."""
    desk = story.desks[0]
    story.approve(story.admission(BIRCH), desk)
    record = desk.approve(story.admission(DILL), **changes)
    story.records.append(record)
    return verdict_on(story, record)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hlc": Hlc(NOON_MS, 0)}, "clock"),
        ({"key": "not an id"}, "not the id of a credential"),
        ({"op": "delete", "body": None, "size": 0}, "stays approved"),
        ({"op": "erase", "target": DILL.member}, "stays approved"),
        ({"parents": (Place(DILL.member, 1, DILL.member),)}, "has parents"),
        ({"auth": Auth(DILL.member, ASH.member)}, "another credential"),
    ],
)
def test_what_breaks_a_rule_keeps_its_place_and_is_void(changes: dict[str, Any], why: str) -> None:
    story = world()
    verdict = spoilt(story, **changes)
    assert verdict.status is Status.VOID
    assert why in verdict.reason
    [after] = story.approve(story.admission(Coop("Elm")), 0)
    assert verdict_on(story, after).holds or why == "clock"


def test_a_log_does_not_change_members() -> None:
    story = world()
    assert "another member" in spoilt(story, auth=Auth(story.federation, BIRCH.member)).reason


def test_a_log_does_not_go_back_to_an_older_entry() -> None:
    story = world()
    renamed = ASH.profile(ASH.inception, "Ash & Rye")
    story.know(renamed)
    desk = Desk(story.federation, ASH.node(0), renamed)
    story.approve(story.admission(BIRCH), desk)
    story.records.append(desk.approve(story.admission(DILL), auth=Auth(story.federation, ASH.member)))
    assert "older identity entry" in verdict_on(story, story.records[-1]).reason


def test_an_id_in_capital_letters_approves_nothing() -> None:
    story = world()
    credential = story.admission(DILL)
    assert "not the id" in spoilt(story, key=str(credential.id).upper()).reason


def test_under_another_members_admission_nothing_is_approved() -> None:
    story = world()
    admission = story.admitted(DILL)
    [approval] = story.approve(
        story.admission(Coop("Elm")), Desk(story.federation, ASH.node(0), ASH.inception, under=admission.id, life=2)
    )
    assert "no admission of its member" in verdict_on(story, approval).reason


# --- the logs


def test_an_approval_is_drafted_as_it_is_signed() -> None:
    story = world()
    credential, desk = story.admission(DILL), story.desks[0]
    for before in (None, desk.approve(credential)):
        body = encode_record_body(salt("a note"), "welcome")
        header = draft_approval(
            credential,
            before,
            author=desk.node.peer_id,
            incarnation=desk.incarnation,
            auth=Auth(story.federation, ASH.member),
            hlc=Hlc(NOON_MS + 1, 0),
            body=body,
        )
        logs = ApprovalLogs(story.federation, [before] if before else [])
        assert logs.add(signed_record(desk.node, header)).verdict.holds
        assert decode_record_body(body, header).value == "welcome"


def test_records_in_any_order_and_only_of_their_kind() -> None:
    story = world()
    desk = story.desks[0]
    first, second = desk.approve(story.admission(DILL)), desk.approve(story.admission(BIRCH))
    logs = ApprovalLogs(story.federation)
    waiting = logs.add(second)
    assert (waiting.verdict.status, waiting.verdict.missing, logs.missing()) == (
        Status.WAITING,
        (first.id,),
        [first.id],
    )
    assert logs.add(first).placed == (first, second)
    assert [record.id for record in logs] == [first.id, second.id]
    assert logs.get(second.id) == second
    assert logs.tips([desk.node.peer_id]) == [desk.tip]
    other = signed_record(desk.node, msgspec.structs.replace(first.body, type="a.note"))
    assert logs.add(other).verdict.status is Status.REFUSED
    foreign = signed_record(desk.node, msgspec.structs.replace(first.body, federation=DILL.member))
    assert "another federation" in logs.add(foreign).verdict.reason


def test_what_does_not_follow_what_it_names_has_no_place() -> None:
    story = world()
    desk, other = story.desks
    first = desk.approve(story.admission(DILL))
    theirs = other.approve(story.credentials[0])
    logs = ApprovalLogs(story.federation, [first, theirs])
    second = desk.approve(story.credentials[0]).body
    for wrong, why in (({"seq": 3}, "number 3"), ({"prev": theirs.id}, "another log")):
        record = signed_record(desk.node, msgspec.structs.replace(second, **wrong))
        assert why in logs.add(record).verdict.reason
    assert len(logs) == 2


def test_both_sides_of_a_fork_count() -> None:
    story = world()
    story.approve(story.admission(DILL), Desk(story.federation, ASH.node(0), ASH.inception))
    story.approve(story.admission(Coop("Elm")), Desk(story.federation, ASH.node(0), ASH.inception))
    standing = story.standing()
    assert all(standing.verdict(each.id).holds for each in story.credentials)
