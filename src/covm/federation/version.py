"""Which covm this is."""

from __future__ import annotations

from functools import cache


@cache
def software_version() -> str:
    """The installed package's version; `unpackaged` when it runs from its sources alone."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("covm")
    except PackageNotFoundError:
        return "unpackaged"


def agent() -> str:
    """What this node calls its software to others."""
    return f"covm/{software_version()}"[:64]
