"""What holds for peers whatever happens: waits, judgements on health, bans."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from covm.federation.clock import SeededRandom
from covm.federation.peers.backoff import Backoff
from covm.federation.peers.bans import Ban, Bans
from covm.federation.peers.health import (
    LOST_AFTER_MISSED,
    MAX_DOUBT,
    SUSPECT_AFTER_MISSED,
    Health,
    estimate,
    judge,
    next_doubt,
)

BASES_S = st.floats(0.001, 60)
MAXIMA_S = st.floats(0.001, 3600)
FAILURES = st.integers(1, 10**9)
INTERVALS_S = st.floats(0.1, 600)
DOUBTS = st.integers(0, MAX_DOUBT)
ORDER = [Health.HEALTHY, Health.SUSPECT, Health.LOST]


class Chance:
    """Draws a given share of every range."""

    def __init__(self, share: float) -> None:
        self._share = share

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def uniform(self, low: float, high: float) -> float:
        return low + self._share * (high - low)


# --- backoff ---


@given(BASES_S, MAXIMA_S, FAILURES, st.integers())
def test_a_wait_is_never_negative_nor_longer_than_the_longest(
    base_s: float, max_s: float, failures: int, seed: int
) -> None:
    backoff = Backoff(base_s, max_s)
    assert 0 <= backoff.delay_s(failures, SeededRandom(seed)) <= backoff.ceiling_s(failures) <= max_s


@given(BASES_S, MAXIMA_S, st.integers(1, 100))
def test_the_longest_wait_doubles_until_it_is_at_its_maximum_and_stays_there(
    base_s: float, max_s: float, failures: int
) -> None:
    backoff = Backoff(base_s, max_s)
    assert backoff.ceiling_s(1) == min(base_s, max_s)
    now_s, next_s = backoff.ceiling_s(failures), backoff.ceiling_s(failures + 1)
    assert next_s == max_s or next_s == 2 * now_s or failures > 32


@given(BASES_S, MAXIMA_S, FAILURES, st.floats(0, 1))
def test_jitter_is_full_every_part_of_the_range_is_drawn_alike(
    base_s: float, max_s: float, failures: int, share: float
) -> None:
    backoff = Backoff(base_s, max_s)
    assert backoff.delay_s(failures, Chance(share)) == share * backoff.ceiling_s(failures)


# --- health ---


@given(INTERVALS_S, DOUBTS, st.floats(0, 100))
def test_two_missed_heartbeats_make_a_suspect_and_four_a_loss_times_the_patience(
    interval_s: float, doubt: int, rounds: float
) -> None:
    health = judge(rounds * interval_s, interval_s, doubt)
    patience = 1 + doubt
    # Half an interval of grace; rounding may decide at the very edge.
    missed = rounds - 0.5
    if missed > LOST_AFTER_MISSED * patience + 1e-6:
        assert health is Health.LOST
    elif missed < SUSPECT_AFTER_MISSED * patience - 1e-6:
        assert health is Health.HEALTHY
    elif SUSPECT_AFTER_MISSED * patience + 1e-6 < missed < LOST_AFTER_MISSED * patience - 1e-6:
        assert health is Health.SUSPECT


@given(INTERVALS_S, DOUBTS, st.floats(0, 10_000), st.floats(0, 10_000))
def test_longer_silence_never_makes_a_peer_look_better_and_doubt_never_worse(
    interval_s: float, doubt: int, silent_s: float, more_s: float
) -> None:
    now = ORDER.index(judge(silent_s, interval_s, doubt))
    assert ORDER.index(judge(silent_s + more_s, interval_s, doubt)) >= now
    assert ORDER.index(judge(silent_s, interval_s, doubt + 1)) <= now


@given(INTERVALS_S, st.lists(st.floats(0, 5)))
def test_a_node_doubts_itself_as_often_as_it_was_late_lately_and_never_beyond_the_bound(
    interval_s: float, late_rounds: list[float]
) -> None:
    doubt = 0
    for late in late_rounds:
        before, doubt = doubt, next_doubt(doubt, late * interval_s, interval_s)
        assert 0 <= doubt <= MAX_DOUBT
        if late > 0.51:
            assert doubt == min(before + 1, MAX_DOUBT)
        elif late < 0.49:
            assert doubt == max(before - 1, 0)


@given(
    st.integers(0, 2**53),
    st.integers(-(10**9), 10**9),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)
def test_the_offset_is_wrong_by_no_more_than_half_of_the_ways_difference(
    sent_ms: int, ahead_ms: int, there_ms: int, held_ms: int, back_ms: int
) -> None:
    received_there_ms = sent_ms + there_ms + ahead_ms
    elapsed_ms = there_ms + held_ms + back_ms
    found = estimate(
        sent_ms, received_there_ms, received_there_ms + held_ms, sent_ms + elapsed_ms, elapsed_ms=float(elapsed_ms)
    )
    assert found.round_trip_ms == there_ms + back_ms
    assert abs(found.clock_offset_ms - ahead_ms) == abs(there_ms - back_ms) / 2


@given(st.integers(), st.integers(), st.integers(), st.integers(), st.floats(0, 1e9))
def test_no_times_that_a_peer_makes_up_give_a_negative_round_trip_or_more_than_what_passed(
    sent_ms: int, received_there_ms: int, sent_there_ms: int, received_ms: int, elapsed_ms: float
) -> None:
    found = estimate(sent_ms, received_there_ms, sent_there_ms, received_ms, elapsed_ms)
    assert 0 <= found.round_trip_ms <= elapsed_ms


# --- bans ---

PEERS = st.sampled_from(["ada", "ben", "cleo", "dora"])


class BanBook(RuleBasedStateMachine):
    """Bans are set, lifted and end in time, in any order; a plain dictionary says what should stand."""

    def __init__(self) -> None:
        super().__init__()
        self.bans = Bans()
        self.standing: dict[str, Ban] = {}
        self.now_ms = 0

    @rule(peer=PEERS, lasts_ms=st.one_of(st.none(), st.integers(1, 1_000)), reason=st.text(max_size=8))
    def ban(self, peer: str, lasts_ms: int | None, reason: str) -> None:
        until_ms = None if lasts_ms is None else self.now_ms + lasts_ms
        self.standing[peer] = Ban(peer, reason, self.now_ms, until_ms)
        self.bans.add(self.standing[peer])

    @rule(peer=PEERS)
    def lift(self, peer: str) -> None:
        assert self.bans.lift(peer) == self.standing.pop(peer, None)

    @rule(passed_ms=st.integers(0, 500))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @precondition(lambda self: self.standing)
    @rule()
    def end_those_whose_time_is_over(self) -> None:
        over = self.bans.expired(self.now_ms)
        for ban in over:
            assert ban.until_ms is not None
            assert ban.until_ms <= self.now_ms
            self.bans.lift(ban.peer)
            assert self.standing.pop(ban.peer) == ban
        assert all(ban.until_ms is None or ban.until_ms > self.now_ms for ban in self.standing.values())
        assert self.bans.expired(self.now_ms) == []

    @invariant()
    def the_last_word_on_each_peer_stands_and_the_oldest_comes_first(self) -> None:
        listed = self.bans.all()
        assert {ban.peer: ban for ban in listed} == self.standing
        assert len(self.bans) == len(listed) == len(self.standing)
        assert [ban.since_ms for ban in listed] == sorted(ban.since_ms for ban in listed)
        for peer in ("ada", "ben", "cleo", "dora"):
            assert (peer in self.bans) == (peer in self.standing)
            assert self.bans.get(peer) == self.standing.get(peer)

    @invariant()
    def a_restart_keeps_them(self) -> None:
        assert Bans(self.bans.all()).all() == self.bans.all()


TestBanBook = BanBook.TestCase
