"""May this peer in? Decided on its join HELLO, the first thing it says, and on who is a member.

Whoever states the same federation may go on; whether it is a member's node the membership says. Being admitted proves a
key, nothing more.
"""

from __future__ import annotations

from covm.federation.wire import join
from covm.federation.wire.join import JoinHello

HINTS_LEAVE = 8
"""One place in eight is left free for incoming connections. Where all nodes filled all their places by themselves,
nobody who is new could get in anywhere."""


def refusal(ours: JoinHello, theirs: JoinHello, banned: str | None) -> str | None:
    """Returns why a peer that says this is refused, as a sentence that is said to it, or None to go on.

    Another major version or another federation is refused with both sides' values, so that either operator can see
    what differs. `banned` is why it is banned here, or None.
    """
    mismatch = join.refusal(ours, theirs)
    if mismatch is not None:
        return mismatch
    if banned is not None:
        return f"banned here: {banned}" if banned else "banned here"
    return None


def no_place(taken: int, places: int, *, known: bool) -> str | None:
    """Why there is no free place for a peer that may take part; None when there is.

    `known`: it has one already (a further connection).
    """
    if known or taken < places:
        return None
    return f"all {places} connections are in use here; try again later"


def places_for_hints(places: int) -> int:
    """How many of a node's places it fills by dialling peers that nobody asked for: the rest is for those who come."""
    return places - places // HINTS_LEAVE
