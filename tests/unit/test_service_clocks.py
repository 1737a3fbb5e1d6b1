"""Whose clock is wrong, by the rule and as a user sees it."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.service_world import Heard, LoopClock, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation.events import ClockFoundRight, ClockFoundWrong
from covm.federation.peers.clocks import ClockChange, Clocks, middle

SHORT = timedelta(minutes=2)


def test_a_peer_that_is_off_is_told_once_and_again_when_it_is_right() -> None:
    clocks = Clocks()
    assert clocks.judge({"ada": 10.0, "ben": -5_000.0, "cleo": 0.0}) == []
    assert clocks.judge({"ada": 10.0, "ben": -5_001.0, "cleo": 0.0}) == [ClockChange("ben", -5_001.0, True)]
    for offset_ms in (-6_000.0, -4_500.0, -5_500.0):
        assert clocks.judge({"ada": 10.0, "ben": offset_ms, "cleo": 0.0}) == []
    assert clocks.judge({"ada": 10.0, "ben": -3_999.0, "cleo": 0.0}) == [ClockChange("ben", -3_999.0, False)]


def test_our_own_is_wrong_where_most_say_so_and_then_they_are_measured_by_each_other() -> None:
    clocks = Clocks()
    found = clocks.judge({"ada": 60_000.0, "ben": 60_100.0, "cleo": 0.0})
    assert found == [ClockChange(None, -60_000.0, True), ClockChange("cleo", -60_000.0, True)]
    assert clocks.own_ahead_ms == -60_000.0
    found = clocks.judge({"ada": 0.0, "ben": 100.0, "cleo": -60_000.0})
    assert found == [ClockChange(None, 0.0, False)]
    assert clocks.own_ahead_ms is None


def test_one_of_two_peers_does_not_make_us_wrong_and_nobody_says_nothing() -> None:
    assert middle([0.0, 90_000.0]) == 0.0
    clocks = Clocks()
    assert clocks.judge({}) == []
    assert clocks.judge({"ada": 0.0, "ben": 90_000.0}) == [ClockChange("ben", 90_000.0, True)]


@leaping
async def test_a_clock_that_is_off_is_told_by_both_sides_until_it_is_set() -> None:
    async with world() as w:
        clock = LoopClock(ahead_ms=60_000)
        ada, ben, cleo = await w.start("ada", clock=clock), await w.start("ben"), await w.start("cleo")
        heard = {node.name: Heard(node) for node in (ada, ben)}
        for one, other in ((ben, cleo), (ada, ben), (ada, cleo)):
            await connect(one, other)
        await in_the_end(lambda: ada.status()["clock"] and heard["ben"].of(ClockFoundWrong), SHORT)
        assert {event.peer for event in heard["ben"].of(ClockFoundWrong)} == {ada.peer_id}
        assert heard["ben"].of(ClockFoundWrong)[0].ahead_ms > 59_000
        assert "ahead of those of most peers" in ada.status()["clock"]
        assert ben.status()["clock"] == ""
        clock.ahead_ms = 0
        await in_the_end(lambda: not ada.status()["clock"] and heard["ben"].of(ClockFoundRight), SHORT)
        for told in heard.values():
            assert [event.peer for event in told.of(ClockFoundWrong)].count(ada.peer_id) == 1
            assert [event.peer for event in told.of(ClockFoundRight)].count(ada.peer_id) == 1
