"""Durations are written as people write them, and a bare number is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from covm.federation.config import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("250ms", timedelta(milliseconds=250)),
        ("2d", timedelta(days=2)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        ("0s", timedelta()),
        (" 10s ", timedelta(seconds=10)),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "1.5h", "30s5m", "5 m", "1w", "5M", "٣s", "9" * 5000 + "s"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="as in 30s, 5m, 1h30m or 250ms"):
        parse_duration(text)


def test_a_duration_longer_than_any_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than any clock"):
        parse_duration("999999999d24h")


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=1, hours=1, milliseconds=7), "1d1h7ms"),
        (timedelta(microseconds=1500), "1ms"),
        (timedelta(seconds=-90), "-1m30s"),
        (timedelta(microseconds=-3), "0s"),
    ],
)
def test_a_duration_is_written_as_it_is_read(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text
