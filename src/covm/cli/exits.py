"""The exit codes of every command: what a script may decide by."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """0 done, 1 failed, 2 usage, 3 no node running, 4 not found, 5 refused, 6 timed out."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_NODE = 3
    NOT_FOUND = 4
    REFUSED = 5
    TIMED_OUT = 6
    INTERRUPTED = 130
    """Ctrl-C, as shells count signals."""


OF_KIND = {
    "failed": Exit.FAILED,
    "invalid": Exit.USAGE,
    "no_node": Exit.NO_NODE,
    "not_found": Exit.NOT_FOUND,
    "refused": Exit.REFUSED,
    "timed_out": Exit.TIMED_OUT,
}
"""The exit code for each kind of failure (`covm.control.failures`)."""
