"""Which relays a node reserves places at, so that others reach it. Rules: no I/O, no clock of its own.

A relay sees who speaks with whom and how much, and can fail or lie: say that it has a place and carry nothing. So a
node keeps places at two relays of different networks, and exchanges a place by which nobody came for hours, where
another is on offer. What that does not catch is a relay that carries some and not others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from covm.federation.wire.multiaddr import is_of_a_house, network_of, place_of, why_unroutable

WANTED: Final = 2
"""Places that a node keeps: one relay may fail or lie, and each costs that relay memory and traffic."""

MOST: Final = 4
"""Places and requests for one at a time; the network allows no more."""

UNKNOWN_S: Final = 10.0
"""So long a node waits to be told whether others reach it, before it takes places to be on the safe side."""

PUBLIC_S: Final = 60.0
"""So long a node has to be reached directly before it gives its places back: what is confirmed may expire again."""

FRUITLESS_S: Final = 6 * 3600.0
"""A place by which nobody came for so long is exchanged: for all that can be known its relay lies."""

PROVEN_S: Final = 3600.0
"""A relay that has been connected for so long is believed to stay."""

ROUND_TRIP_STEP_MS: Final = 50.0
"""Round trips that differ by less are alike."""

WAYS_OF_A_RELAY: Final = 2
"""Of the ways to a peer through one relay so many are kept: the relay states as many addresses as it likes."""

UNMEASURED_MS: Final = 500.0
"""What an unknown round trip counts as."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A relay at which this node may reserve a place."""

    relay: str
    """Its peer id."""
    address: str
    """Where it is reached; others come this way, too. Ends in `/p2p/<relay>`."""
    connected_s: float
    """How long it has been connected."""
    round_trip_ms: float | None = None
    kept: bool = False
    """Whether the operator or the configuration named it."""
    outside: str = ""
    """Where those in other houses may reach it besides, as it says; empty where there is no need. Ends as `address`."""


@dataclass(frozen=True, slots=True)
class Held:
    """A place that this node has at a relay."""

    relay: str
    address: str
    useful_s: float
    """When somebody came through it last, or when it was taken."""


def needs_relays(reached: str, since_s: float, now_s: float) -> bool:
    """Whether others reach this node through relays alone, as far as it knows; `since_s` is when it began to know that.

    `reached` is `public`, `private` or `unknown`.
    """
    return reached == "private" or (reached == "unknown" and now_s - since_s >= UNKNOWN_S)


def gives_back(reached: str, since_s: float, now_s: float) -> bool:
    """Whether this node has been reached directly for long enough to do without relays."""
    return reached == "public" and now_s - since_s >= PUBLIC_S


def chosen(held: Sequence[Held], asked: Sequence[str], offers: Iterable[Offer], now_s: float) -> list[Offer]:
    """The relays to ask now, best first; `held` are the places, `asked` the networks of those that are being asked.

    `offers` are those that are neither held nor asked and that nothing speaks against. Other networks than those of
    the places go first, then relays that people named, that have stayed and that are near.
    """
    # One that is to be exchanged keeps its place until there is another.
    useful = [place for place in held if now_s - place.useful_s < FRUITLESS_S]
    room = min(WANTED - len(useful), MOST - len(held)) - len(asked)
    taken = [*asked, *(network_of(place.address) for place in held)]
    left, found = list(offers), []
    while room > 0 and left:
        best = min(left, key=lambda offer: (network_of(offer.address) in taken, *_worth(offer)))
        left.remove(best)
        found.append(best)
        taken.append(network_of(best.address))
        room -= 1
    return found


def surplus(held: Sequence[Held]) -> list[Held]:
    """The places to give back: those beyond what is wanted, by which nobody came for longest."""
    return sorted(held, key=lambda place: place.useful_s)[: max(0, len(held) - WANTED)]


def relay_addresses(relay: str, worked: Iterable[str], claimed: Iterable[str], *, near: bool) -> list[str]:
    """Where a relay is, the best first, each ending in `/p2p/<relay>`; empty where that is not known.

    `worked` are addresses at which this node has reached it; they go before what it claims, and those that mean
    something everywhere before those of a house. Of claims one is taken, if nothing worked; or a second beside one of a
    house, for those in other houses: one such is told, and it may be false. `near` is as in `why_unroutable`.
    """
    reached = sorted(_own_of(relay, worked), key=is_of_a_house)
    said = [address for address in _own_of(relay, claimed) if not why_unroutable(address, near=near)]
    found = reached[:1] or sorted(said, key=is_of_a_house)[:1]
    if reached and is_of_a_house(reached[0]):
        found += [address for address in said if not is_of_a_house(address)][:1]
    return [f"{address}/p2p/{relay}" for address in found]


def _own_of(relay: str, addresses: Iterable[str]) -> list[str]:
    """Those that are the relay's own, without its peer id."""
    plain = [address.removesuffix(f"/p2p/{relay}") for address in addresses]
    return [address for address in plain if address and "/p2p/" not in address and "/p2p-circuit" not in address]


def ordered(
    announced: Iterable[str], confirmed: Iterable[str], relayed: Iterable[str], listening: Iterable[str], peer: str
) -> list[str]:
    """A node's own addresses as others should try them, each once, each ending in `/p2p/<peer>`.

    `relayed` are its places at relays; what these state of themselves, and the network listens on, is left out.
    """
    ending = f"/p2p/{peer}"
    own = (address for address in listening if not place_of(address).is_relayed)
    every = (address.removesuffix(ending) for each in (announced, confirmed, relayed, own) for address in each)
    return [address + ending for address in dict.fromkeys(every)]


def fitting(addresses: Iterable[str], most: int) -> list[str]:
    """So many of a peer's addresses: its own first, then those through relays, which take turns.

    What a relay states pushes out none of the peer's own, beyond the room for one way through each of two relays.
    """
    own: list[str] = []
    ways: dict[str, list[str]] = {}
    for address in dict.fromkeys(addresses):
        if place_of(address).is_relayed:
            ways.setdefault(_relay_of(address), []).append(address)
        else:
            own.append(address)
    rows = (sorted(row, key=is_of_a_house)[:WAYS_OF_A_RELAY] for row in ways.values())
    relayed = [address for turn in zip_longest(*rows) for address in turn if address is not None]
    own = own[: most - min(len(ways), WANTED)]
    return [*own, *relayed[: most - len(own)]]


def _relay_of(address: str) -> str:
    """The peer id of the relay that an address leads through; empty where it names none."""
    return address.partition("/p2p-circuit")[0].partition("/p2p/")[2]


def _worth(offer: Offer) -> tuple[bool, bool, int, str]:
    round_trip_ms = UNMEASURED_MS if offer.round_trip_ms is None else offer.round_trip_ms
    return (not offer.kept, offer.connected_s < PROVEN_S, int(round_trip_ms // ROUND_TRIP_STEP_MS), offer.relay)
