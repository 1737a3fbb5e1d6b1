"""Durations as they are typed: `10s`, `5m`, `1h30m`, `250ms`; the same form as in a configuration.

Read here without `covm.federation.config`, which loads the native core to check addresses; a test holds the two
together.
"""

from __future__ import annotations

import re

from covm.control.failures import Invalid

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS_MS))


def milliseconds(text: str, option: str) -> int:
    """The duration's milliseconds, at least one. Raises `Invalid` naming the option."""
    found = _DURATION.fullmatch(text.strip())
    total = sum(int(found[unit] or 0) * length for unit, length in _UNITS_MS.items()) if found else 0
    if total == 0:
        raise Invalid(
            f"{option} is {text!r}: it must be a number with its unit, as in 30s, 5m, 1h30m or 250ms, and more than "
            "nothing",
            code="bad_duration",
        )
    return total
