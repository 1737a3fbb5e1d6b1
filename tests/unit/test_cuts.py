"""Cuts: what is within one, within several, and within one that is false."""

from __future__ import annotations

import pytest
from tests.unit.membership_world import Coop, Desk

from covm import _native
from covm.federation.identity.approvals import ApprovalLogs
from covm.federation.identity.cuts import CutIndex, cut_problem, make_cut
from covm.federation.wire.limits import MAX_CUT
from covm.federation.wire.record import Place, place_of

FEDERATION = _native.cid(b"\xa0")
ASH = Coop("Ash", approvers=(0, 1))


def desk(node: int = 0) -> Desk:
    return Desk(FEDERATION, ASH.node(node), ASH.inception)


def test_within_are_the_listed_record_and_what_it_reaches() -> None:
    writer = desk()
    records = [writer.approve(FEDERATION) for _ in range(4)]
    index = CutIndex(ApprovalLogs(FEDERATION, records))
    cut = make_cut([place_of(records[1])])
    log = records[0].body.log
    assert [index.within([cut], log, record.id) for record in records] == [True, True, False, False]
    assert [index.within([], log, record.id) for record in records] == [True] * 4


def test_the_other_side_of_a_fork_is_beyond() -> None:
    one, other = desk(), desk()
    common = one.approve(FEDERATION)
    other.written.append(common)
    mine, theirs = one.approve(FEDERATION), other.approve(ASH.member)
    index = CutIndex(ApprovalLogs(FEDERATION, [common, mine, theirs]))
    cut = make_cut([place_of(mine)])
    assert [index.within([cut], common.body.log, each.id) for each in (common, mine, theirs)] == [True, True, False]


def test_a_log_that_is_not_listed_ends_at_nothing_and_several_cuts_bind_together() -> None:
    one, other = desk(0), desk(1)
    records = [one.approve(FEDERATION), one.approve(FEDERATION), other.approve(FEDERATION)]
    index = CutIndex(ApprovalLogs(FEDERATION, records))
    long, both = make_cut([place_of(records[1])]), make_cut([place_of(records[0]), place_of(records[2])])
    log = records[0].body.log
    assert index.within([long], log, records[1].id)
    assert not index.within([long, both], log, records[1].id)
    assert index.within([long, both], log, records[0].id)
    assert not index.within([long], records[2].body.log, records[2].id)


def test_a_false_cut_reaches_nothing() -> None:
    writer = desk()
    records = [writer.approve(FEDERATION) for _ in range(2)]
    index = CutIndex(ApprovalLogs(FEDERATION, records))
    log = records[0].body.log
    for false in (Place(log, 1, records[1].id), Place(FEDERATION, 2, records[1].id), Place(log, 9, FEDERATION)):
        assert not index.within([make_cut([false])], log, records[0].id)


def test_a_cut_lists_each_log_once_in_order_and_not_too_many() -> None:
    logs = sorted((_native.cid(_native.encode(number)) for number in range(MAX_CUT + 1)), key=lambda log: log.bytes)
    places = tuple(Place(log, 1, FEDERATION) for log in logs)
    assert make_cut(places[:3][::-1]) == places[:3]
    assert "not in order" in str(cut_problem(places[:3][::-1]))
    with pytest.raises(ValueError, match="a log twice"):
        make_cut([places[0], Place(places[0].log, 2, FEDERATION)])
    with pytest.raises(ValueError, match="at most"):
        make_cut(places)
