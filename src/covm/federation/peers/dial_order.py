"""In which order a peer's addresses are tried: what worked last first, then what is likely to, families by turns.

The network tries them in this order, each a little after the one before, until one answers (RFC 8305).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from covm.federation.peers.book import Known
from covm.federation.wire.multiaddr import Host, Place, is_elsewhere, place_of


def in_order(known: Mapping[str, Known], own: Collection[Host]) -> list[str]:
    """The addresses, the best first; `own` are this node's hosts.

    Direct ones go before relayed ones, and those of private networks that this node is not on come last; within each
    of these, what worked last and has not failed since, then what has not failed, then by source and by how lately it
    was heard of. IPv6 and IPv4 take turns, so that a family that leads nowhere costs little; TCP goes before QUIC where
    nothing else decides, because it is refused at once where nobody listens, and QUIC is met with silence.
    """
    places = {address: place_of(address) for address in known}

    def group(address: str) -> tuple[bool, bool, bool]:
        works, place = _works(known[address]), places[address]
        return not works, place.is_relayed, is_elsewhere(place, own)

    def rank(address: str) -> tuple[object, ...]:
        held, place = known[address], places[address]
        return (
            *group(address),
            -(held.worked_ms or 0) if _works(held) else 0,
            bool(held.error),
            -held.source,
            place.is_quic,
            place.family != 6,
            -held.heard_ms,
            address,
        )

    ranked = sorted(known, key=rank)
    return [address for _, alike in groupby(ranked, key=group) for address in _by_turns(list(alike), places)]


def _works(known: Known) -> bool:
    return known.worked_ms is not None and not known.error


def _by_turns(addresses: Sequence[str], places: Mapping[str, Place]) -> list[str]:
    """IPv6 and IPv4 alternately, beginning with the family of the first; names count as IPv6, which they prefer."""
    rows: dict[bool, list[str]] = {True: [], False: []}
    for address in addresses:
        rows[places[address].family != 4].append(address)
    is_six = bool(addresses) and places[addresses[0]].family != 4
    found: list[str] = []
    while rows[True] or rows[False]:
        row = rows[is_six] or rows[not is_six]
        found.append(row.pop(0))
        is_six = not is_six
    return found
