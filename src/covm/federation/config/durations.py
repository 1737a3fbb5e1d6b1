"""Durations as people write them: `30s`, `5m`, `1h30m`, `250ms`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
# Nine digits: some 30 years in seconds, and no arithmetic on a number of a million digits.
_PARTS: Final = [(unit, rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?") for unit in _UNITS]
_DURATION: Final = re.compile("".join(pattern for _, pattern in _PARTS))

EXAMPLE: Final = "a number with its unit, as in 30s, 5m, 1h30m or 250ms (units: d, h, m, s, ms)"


def parse_duration(text: str) -> timedelta:
    """The duration in a text such as `1h30m`: whole numbers with the units d, h, m, s, ms, the largest first.

    Raises `ValueError` saying what is allowed, also for a bare number, whose unit nobody could know.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(f"must be {EXAMPLE}")
    try:
        return sum((int(found[unit] or 0) * length for unit, length in _UNITS.items()), timedelta())
    except OverflowError:
        raise ValueError("is longer than any clock counts") from None


def format_duration(duration: timedelta) -> str:
    """The text that `parse_duration` reads as this duration; parts of a millisecond are dropped. `0s` for none."""
    rest = abs(duration) // _UNITS["ms"] * _UNITS["ms"]
    parts = []
    for unit, length in _UNITS.items():
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    sign = "-" if duration < timedelta() and parts else ""
    return sign + ("".join(parts) or "0s")
