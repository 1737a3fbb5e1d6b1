"""The rules about peers, by calling them: admission, backoff, health, bans."""

from __future__ import annotations

import pytest

from covm.federation.clock import SeededRandom
from covm.federation.peers.admission import no_place, places_for_hints, refusal
from covm.federation.peers.backoff import Backoff
from covm.federation.peers.bans import Ban, Bans
from covm.federation.peers.health import MAX_DOUBT, UNANSWERED, Health, Pulse, estimate, judge, next_doubt
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.join import JoinHello

OURS = JoinHello(federation=open_federation("bakers").cid)


def test_a_peer_of_the_same_federation_is_admitted() -> None:
    assert refusal(OURS, OURS, None) is None
    assert refusal(OURS, JoinHello(v=(1, 9), federation=OURS.federation), None) is None


def test_another_major_version_is_refused_naming_both() -> None:
    reason = refusal(OURS, JoinHello(v=(2, 0), federation=OURS.federation), None)
    assert reason is not None
    assert "2.0" in reason
    assert "1.0" in reason


def test_another_federation_is_refused_naming_both() -> None:
    theirs = JoinHello(federation=open_federation("millers").cid)
    reason = refusal(OURS, theirs, None)
    assert reason is not None
    assert str(OURS.federation) in reason
    assert str(theirs.federation) in reason


def test_a_refusal_fits_what_the_join_stream_can_carry() -> None:
    theirs = JoinHello(federation=open_federation("millers").cid)
    assert len((refusal(OURS, theirs, None) or "").encode()) <= 256


def test_who_is_banned_is_told_so() -> None:
    assert refusal(OURS, OURS, "spam") == "banned here: spam"
    assert refusal(OURS, OURS, "") == "banned here"


def test_who_has_a_place_does_not_wait_for_a_free_one() -> None:
    assert no_place(1, 2, known=False) is None
    assert no_place(2, 2, known=True) is None
    assert (no_place(2, 2, known=False) or "").startswith("all 2 connections are in use")


def test_a_node_that_dials_hints_leaves_places_for_those_who_come() -> None:
    assert [places_for_hints(places) for places in (1, 2, 8, 50, 200)] == [1, 2, 7, 44, 175]


def test_waits_double_up_to_the_longest_and_are_spread_over_all_of_it() -> None:
    backoff = Backoff(1.0, 60.0)
    assert [backoff.ceiling_s(failures) for failures in (1, 2, 3, 7, 10_000)] == [1, 2, 4, 60, 60]
    delays = [backoff.delay_s(4, random) for random in map(SeededRandom, range(100))]
    assert min(delays) < 2
    assert max(delays) > 6
    assert all(0 <= delay <= 8 for delay in delays)


@pytest.mark.parametrize(
    ("silent_s", "doubt", "health"),
    [
        (24, 0, Health.HEALTHY),
        (25, 0, Health.SUSPECT),
        (44, 0, Health.SUSPECT),
        (45, 0, Health.LOST),
        (44, 1, Health.HEALTHY),
        (45, 1, Health.SUSPECT),
        (84, 1, Health.SUSPECT),
        (85, 1, Health.LOST),
    ],
)
def test_two_missed_heartbeats_make_a_suspect_four_a_loss_and_doubt_doubles_both(
    silent_s: float, doubt: int, health: Health
) -> None:
    assert judge(silent_s, 10.0, doubt) is health


def test_a_node_that_was_slow_doubts_itself_and_regains_trust() -> None:
    doubt = 0
    for _ in range(20):
        doubt = next_doubt(doubt, 9.0, 10.0)
    assert doubt == MAX_DOUBT
    for _ in range(20):
        doubt = next_doubt(doubt, 0.1, 10.0)
    assert doubt == 0


def test_round_trip_and_offset_follow_from_the_four_times() -> None:
    found = estimate(sent_ms=1_000, received_there_ms=6_030, sent_there_ms=6_130, received_ms=1_160, elapsed_ms=160)
    assert (found.round_trip_ms, found.clock_offset_ms) == (60, 5_000)


def test_an_answer_counts_once_and_only_for_what_was_asked() -> None:
    pulse = Pulse(heard_s=0.0)
    pulse.note_sent(1, 1_000, 10.0)
    assert not pulse.note_answer(2, 1_000, 1_000, 1_010, 10.01)
    assert pulse.note_answer(1, 1_005, 1_005, 1_010, 10.01)
    assert not pulse.note_answer(1, 1_005, 1_005, 1_010, 10.01)
    assert pulse.round_trip_ms == pytest.approx(10)
    for sequence in range(100):
        pulse.note_sent(sequence, 0, 0.0)
    assert len(pulse.sent) == UNANSWERED


def test_one_odd_sample_does_not_move_the_median() -> None:
    pulse = Pulse(heard_s=0.0)
    for sequence, late_s in enumerate([0.01, 0.01, 5.0, 0.01, 0.01]):
        pulse.note_sent(sequence, 0, 0.0)
        pulse.note_answer(sequence, 0, 0, 0, late_s)
    assert pulse.round_trip_ms == pytest.approx(10)


def test_bans_end_in_time_and_the_last_word_counts() -> None:
    bans = Bans([Ban("ada", "spam", 0, 100)])
    bans.add(Ban("ben", "", 0, None))
    assert bans.expired(99) == []
    assert [ban.peer for ban in bans.expired(100)] == ["ada"]
    bans.add(Ban("ada", "more spam", 5, 500))
    assert bans.expired(100) == []
    assert "1970-01-01 00:00:00 UTC" in bans.all()[1].until
    assert bans.get("ben") is not None
    assert bans.get("ben").until == "it is lifted"  # type: ignore[union-attr]
