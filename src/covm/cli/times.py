"""Points in time as they are typed: `2026-03-01 14:30:05` here where one is, or with a zone behind it."""

from __future__ import annotations

from datetime import datetime

from covm.control.failures import Invalid


def moment_ms(text: str, option: str) -> int:
    """The last millisecond of a second, since 1970-01-01 UTC: times are shown to the second, and mean all of it.

    Raises `Invalid` naming the option.
    """
    try:
        when = datetime.fromisoformat(text.strip()).astimezone()
        start_ms = int(when.timestamp()) * 1000
    except (ValueError, OverflowError, OSError) as error:
        raise Invalid(
            f"{option} is {text!r}: it must be a date and a time, as in 2026-03-01 14:30:05, or with its zone as in "
            "2026-03-01T14:30:05+01:00",
            code="bad_time",
        ) from error
    if start_ms < 0:
        raise Invalid(f"{option} is {text!r}: it must be later than 1970", code="bad_time")
    return start_ms + 999
