"""Gossip as properties: the window agrees with a memory that forgets nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from covm.federation.gossip.allowance import Allowances
from covm.federation.gossip.journal import packed, unpacked
from covm.federation.gossip.replay import WINDOW, ReplayWindows, Seen
from covm.federation.wire.incarnation import Incarnation

LIVES = [Incarnation(number, b"nonce-00") for number in range(3)]


@given(st.lists(st.tuples(st.sampled_from(LIVES), st.integers(0, 3 * WINDOW)), max_size=60))
def test_nothing_is_ever_new_twice(arrivals: list[tuple[Incarnation, int]]) -> None:
    windows = ReplayWindows()
    new = [arrival for arrival in arrivals if windows.check("ada", *arrival) is Seen.NEW]
    assert len(new) == len(set(new))


@given(st.lists(st.integers(0, WINDOW - 1), max_size=60))
def test_within_the_window_the_first_of_each_number_is_new(numbers: list[int]) -> None:
    windows, before = ReplayWindows(), set[int]()
    for number in numbers:
        expected = Seen.DUPLICATE if number in before else Seen.NEW
        assert windows.check("ada", LIVES[0], number) is expected
        before.add(number)


@given(st.integers(1, 50), st.lists(st.floats(0, 0.5), max_size=100))
def test_no_more_than_a_burst_and_the_rate_passes(rate: int, pauses: list[float]) -> None:
    allowances = Allowances(rate)
    now_s, passed = 0.0, 0
    for pause in pauses:
        now_s += pause
        passed += allowances.take("ada", now_s)
    assert passed <= rate + rate * now_s + 1


@given(st.integers(0, (1 << WINDOW) - 1))
def test_a_window_is_the_same_after_it_was_written_down(bits: int) -> None:
    assert unpacked(packed(bits)) == bits


@given(st.lists(st.tuples(st.sampled_from(LIVES), st.integers(0, 3 * WINDOW)), max_size=60), st.integers(0, 60))
def test_a_restart_makes_nothing_new_again(arrivals: list[tuple[Incarnation, int]], at: int) -> None:
    """Written down and read again at any moment, the windows judge as if nothing had happened."""
    steady, first, second = ReplayWindows(), ReplayWindows(), ReplayWindows()
    expected = [steady.check("ada", *arrival) for arrival in arrivals]
    found = [first.check("ada", *arrival) for arrival in arrivals[:at]]
    for window in first.take_changes().windows:
        second.restore(window._replace(bits=unpacked(packed(window.bits))))
    found += [second.check("ada", *arrival) for arrival in arrivals[at:]]
    assert found == expected
