"""Forks of an identity log: what a thief can do with which key, and how it is undone."""

from __future__ import annotations

import pytest
from tests.unit.membership_world import Coop
from tests.unit.test_identity_log import ASH, head, log_of, names

from covm.federation.identity import log as log_rules
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.verdicts import Status


def test_a_stolen_member_key_adds_a_node_and_the_owner_rotates_it_away() -> None:
    before = ASH.profile(ASH.inception, "Ash & Rye")
    theft = ASH.add_node(before, 9)
    log = log_of(ASH, before, theft)
    assert names(head(log).nodes) == [0, 1, 9]
    rotated = ASH.rotate(before, 1)
    log.add(rotated)
    assert head(log).entry == rotated.id
    assert names(head(log).nodes) == [0, 1]
    assert log.verdict(theft.id).status is Status.VOID
    assert "lost behind entry 2" in log.verdict(theft.id).reason
    # Who writes by the theft writes by where it left the log: without the node that it added.
    state = log.at(theft.id)
    assert state is not None
    assert state.entry == before.id


def test_a_stolen_member_key_recovered() -> None:
    theft = ASH.add_node(ASH.inception, 9)
    more = ASH.remove_node(theft, 0)
    recovered = ASH.recover(ASH.inception, by=0, to=5)
    onward = ASH.profile(recovered, "Ash again", ASH.key(5))
    log = log_of(ASH, theft, more, recovered, onward)
    assert head(log).name == "Ash again"
    assert names(head(log).nodes) == [0, 1]
    assert log.at(more.id) == log.at(ASH.member)


def test_a_recovery_wins_against_a_rival_rotation() -> None:
    """Whoever stole the next key rotates; the recovery key has the last word."""
    rotation = ASH.rotate(ASH.inception, 1)
    onward = ASH.rotate(ASH.profile(rotation, "Thief", ASH.key(1)), 2)
    recovered = ASH.recover(ASH.inception, by=0, to=5)
    for order in ([rotation, onward, recovered], [recovered, onward, rotation]):
        log = log_of(ASH, *order)
        assert head(log).entry == recovered.id


def test_two_ordinary_entries_behind_one_end_the_log_there() -> None:
    one, other = ASH.profile(ASH.inception, "one"), ASH.profile(ASH.inception, "other")
    log = log_of(ASH, one, other)
    assert head(log).entry == ASH.member
    assert log.is_contested
    assert "contested behind entry 1" in log.verdict(one.id).reason
    rotated = ASH.rotate(other, 1)
    log.add(rotated)
    assert head(log).entry == rotated.id
    assert head(log).name == "other"
    assert not log.is_contested


def test_two_rotations_end_the_log_until_a_recovery_decides() -> None:
    """A used key that is stolen later rotates once more from where it was the next key."""
    rotated = ASH.rotate(ASH.inception, 1)
    second = ASH.rotate(rotated, 2)
    rival = ASH.rotate(ASH.inception, 1, next=9)
    log = log_of(ASH, rotated, second, rival)
    assert head(log).entry == ASH.member
    recovered = ASH.recover(second, by=0, to=5)
    log.add(recovered)
    assert head(log).entry == recovered.id
    assert [update.id for update in log.updates()] == [ASH.member, rotated.id, second.id, recovered.id]
    assert log.verdict(second.id).holds


def test_two_recoveries_by_one_key_end_the_log_for_good() -> None:
    one, other = ASH.recover(ASH.inception, by=0, to=5), ASH.recover(ASH.inception, by=0, to=7)
    log = log_of(ASH, one, other)
    log.add(ASH.recover(one, by=1, to=8))
    assert head(log).entry == ASH.member
    assert log.is_contested


def test_a_fork_within_a_branch_that_goes_on_ends_the_log_there() -> None:
    theft = ASH.add_node(ASH.inception, 9)
    rotated = ASH.rotate(ASH.inception, 1)
    one, other = ASH.profile(rotated, "one", ASH.key(1)), ASH.profile(rotated, "other", ASH.key(1))
    log = log_of(ASH, theft, one, other, rotated)
    assert head(log).entry == rotated.id


def test_a_thief_with_the_key_cannot_crowd_the_owner_out() -> None:
    """More entries than are held: beginnings of rivals stay, and a recovery offered whole still wins."""
    log = log_of(ASH, max_held=20)
    before = ASH.inception
    for number in range(40):
        log.add(ASH.profile(ASH.inception, f"junk {number}"))
        before = ASH.profile(before, f"chain {number}")
        log.add(before)
    assert len(log) <= 20
    assert head(log).entry == ASH.member
    assert log.is_contested
    mine = ASH.profile(ASH.inception, "mine")
    for update in (mine, ASH.recover(mine, by=0, to=5)):
        log.add(update)
    assert (head(log).name, head(log).key) == ("mine", ASH.key(5).peer_id)
    log.add(ASH.rotate(ASH.inception, 1))
    assert head(log).name == "mine"


def test_large_entries_crowd_the_owner_out_as_little() -> None:
    junk = [ASH.profile(ASH.inception, f"junk {number}") for number in range(20)]
    room = len(ASH.inception.envelope) + 5 * len(junk[0].envelope)
    log = IdentityLog(ASH.member, max_held_bytes=room)
    for update in (ASH.inception, *junk):
        log.add(update)
    assert len(log) <= 6
    recovered = ASH.recover(ASH.inception, by=0, to=5)
    log.add(recovered)
    assert head(log).entry == recovered.id


def test_what_was_dropped_is_told_and_what_it_weighed_is_remembered() -> None:
    log = log_of(ASH, max_held=4)
    rotated = ASH.rotate(ASH.inception, 1)
    theft = ASH.profile(ASH.inception, "thief")
    behind = ASH.rotate(theft, 1)
    for update in (rotated, theft, behind):
        log.add(update)
    more = ASH.profile(behind, "more", ASH.key(1))
    assert log.add(more).dropped == ()
    assert log.add(ASH.profile(ASH.inception, "junk")).dropped == (behind.id, more.id)
    assert behind.id not in log
    assert head(log).entry == ASH.member
    assert log.is_contested


def test_the_heaviest_rivals_are_those_that_are_remembered() -> None:
    """A rotation that stood against another still does when the room was made for more junk than rivals are kept."""
    log = log_of(ASH, max_held=8)
    rotation, rival = ASH.rotate(ASH.inception, 1), ASH.rotate(ASH.inception, 1, next=9)
    for update in (rotation, rival, *(ASH.profile(ASH.inception, f"junk {number}") for number in range(8))):
        log.add(update)
    assert rotation.id in log
    assert rival.id in log
    assert head(log).entry == ASH.member
    log.add(ASH.recover(rotation, by=0, to=5))
    assert head(log).seq == 3


def test_the_head_needs_the_inception_and_nothing_else() -> None:
    birch = Coop("Birch Mill")
    log = IdentityLog(birch.member)
    assert log.head is None
    assert not log.is_contested
    assert log.at(birch.member) is None
    assert log.verdict(birch.member).status is Status.WAITING


def test_what_others_name_stays_with_what_leads_there_the_nearest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And within a room of its own: a thief that has entries of its own named does not push out an older one."""
    monkeypatch.setattr(log_rules, "_PINNED", 4)
    mine = ASH.profile(ASH.inception, "mine")
    behind = ASH.profile(mine, "behind mine")
    pinned = {behind.id}
    log = IdentityLog(ASH.member, max_held=8, pinned=pinned)
    for update in (ASH.inception, mine, behind, ASH.recover(ASH.inception, by=0, to=5)):
        log.add(update)
    far = ASH.inception
    for number in range(30):
        far = ASH.profile(far, f"junk {number}")
        pinned.add(far.id)
        log.add(far)
    log.add(ASH.profile(ASH.inception, "the last"))
    assert mine.id in log
    assert behind.id in log
    assert len(log) == 2 + 4 + 1
    before = log.at(behind.id)
    assert before is not None
    assert before.entry == ASH.member
