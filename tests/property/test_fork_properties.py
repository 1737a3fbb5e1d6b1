"""What holds of the places where logs part, however their records came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.records_world import TYPE, Author

from covm._native import cid
from covm.federation.identity.branches import Spot
from covm.federation.sync.forks import forked_by, partings
from covm.federation.sync.logs import Log

ASH = Author("ash")


@given(st.lists(st.integers(0, 30), max_size=40))
def test_each_fork_is_of_two_records_that_are_there_follow_the_same_one_and_have_one_number(picks: list[int]) -> None:
    log = Log(TYPE, ASH.key.peer_id, ASH.incarnation)
    behind: dict[Spot, Spot | None] = {}
    for number, pick in enumerate(picks):
        before = [None, *behind][pick % (len(behind) + 1)]
        behind[log.branches.take(cid(b"%d" % number), before)] = before
    found = list(partings(log))
    for _, one, other in found:
        assert one != other
        assert one.seq == other.seq
        assert behind[one] == behind[other]
    # Of those that follow one record, all but the one that was here first make a fork.
    assert len({other for _, _, other in found}) == len(found) == len(behind) - len(set(behind.values()))
    assert forked_by([log]) == ({log.author: len(found)} if found else {})
