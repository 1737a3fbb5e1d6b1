"""Hints: who is told of whom, how much of what is told is taken, and which of two that hear of each other dials.

Of two peers that are connected here, each is told of the other, so that whoever knows one node of a federation finds
all of them. What has been said is not said again unless it changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from covm.federation.clock import Random
from covm.federation.peers.record import PeerRecord
from covm.federation.peers.relay_choice import fitting
from covm.federation.wire.hints import MAX_HINT_ADDRESSES, PeerHint
from covm.federation.wire.limits import MAX_ADDRESS
from covm.federation.wire.multiaddr import is_loopback

PERIOD_S = 5.0
"""From one frame of hints to the next one to the same peer: what comes meanwhile goes together."""

MAX_WAITING = 256
"""Peers that one peer is still to be told of. In a federation that is larger, others tell it of the rest."""

BURST = 8
"""Frames of hints that one peer may send at once: all that may wait for us at it, or what half a minute held up."""

TURN_MS = 500
"""How long the one of two waits whose turn it is not to dial. Where the other cannot reach it, it dials after all."""


def hint_of(record: PeerRecord) -> PeerHint | None:
    """What is told of a connected peer: where we reached it, then where it says that it is, those through relays last.

    None: it says nothing.
    """
    said = record.info.addresses if record.info is not None else ()
    ending = f"/p2p/{record.peer}"
    addresses = dict.fromkeys(
        address.removesuffix(ending) for address in (*record.reached_at, *said, *record.claimed) if address
    )
    taken = [address for address in addresses if 0 < len(address) <= MAX_ADDRESS]
    # Loopback leads others to themselves, unless all of them are on one machine.
    taken = [address for address in taken if not is_loopback(address)] or taken
    return PeerHint(peer=record.peer, addresses=fitting(taken, MAX_HINT_ADDRESSES)) if taken else None


def for_newcomer(records: Sequence[PeerRecord], random: Random) -> list[str]:
    """Of whom somebody is told that has just come: of all, those first that came last. Of very many, some by chance."""
    some = records
    if len(records) > MAX_WAITING:
        # Each who comes is told of others, so that together they hear of all.
        some = sorted(records, key=lambda _: random.uniform(0.0, 1.0))[:MAX_WAITING]
    return [record.peer for record in sorted(some, key=lambda record: -record.since_ms)]


def is_others_turn(own: str, other: str, heard_for_ms: int) -> bool:
    """Whether this node leaves it to a peer that it first heard of so long ago to dial: of two, the lower id begins.

    Two nodes on one segment hear of each other in the same moment. If both dialled, there would be two connections
    where one is wanted, or none: from and to the ports at which both listen, two dials that cross are one TCP
    connection on which both sides think that they opened it.
    """
    return other < own and 0 <= heard_for_ms < TURN_MS
