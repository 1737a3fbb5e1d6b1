"""May this peer in? Decided on its join HELLO, the first thing it says.

In `open` mode whoever states the same federation may take part. Being admitted proves a key, nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.wire import join
from covm.federation.wire.join import JoinHello


@dataclass(frozen=True, slots=True)
class Ground:
    """What this node knows about a peer that asks to be let in."""

    banned: str | None
    """Why it is banned, or None."""
    pinned: bool
    """Whether the operator or the configuration asked for this peer: it does not wait for a free place."""
    known: bool
    """Whether the peer has a place already (a further connection)."""
    taken: int
    """Places taken."""
    places: int
    """`max_connections`."""


def refusal(ours: JoinHello, theirs: JoinHello, ground: Ground) -> str | None:
    """Returns why the peer is refused, as a sentence that is said to it, or None to admit it.

    Another major version or another federation is refused with both sides' values, so that either operator can see
    what differs. The order is from what concerns everyone to what concerns this node alone.
    """
    mismatch = join.refusal(ours, theirs)
    if mismatch is not None:
        return mismatch
    if ground.banned is not None:
        return f"banned here: {ground.banned}" if ground.banned else "banned here"
    if not ground.known and not ground.pinned and ground.taken >= ground.places:
        return f"all {ground.places} connections are in use here; try again later"
    return None
