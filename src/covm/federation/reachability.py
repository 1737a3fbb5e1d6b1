"""How a node stands behind its routers, as plain values: whether, where and through whom others reach it.

The shell that chooses relays keeps it; `status` and `covm doctor` read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class OwnAddress(NamedTuple):
    """An address at which others may reach this node."""

    address: str
    source: str
    """`announced` (the operator's word), `autonat` (a peer tried it), `upnp` (the router), `relay` (a reservation)."""
    state: str
    """`confirmed`, `expired` or `unreachable`."""
    detail: str
    """Who confirmed it, or why it does not work; empty where nothing is known."""


class RelayPlace(NamedTuple):
    """This node's place at a relay, or why it has none there."""

    relay: str
    """The relay's peer id."""
    state: str
    """`asking`, `accepted`, `refused` or `lost`."""
    address: str
    """Where others reach this node through it; empty without a place."""
    why: str
    """The relay's reason, or this node's; empty while the place stands."""
    since_ms: int
    """Since when, in milliseconds since 1970-01-01 UTC."""


class Punch(NamedTuple):
    """The last attempt at a direct connection with a peer that was reached through a relay."""

    peer: str
    worked: bool
    why: str
    """Why it failed; empty where it worked."""
    at_ms: int
    """When, in milliseconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Reachability:
    """What a node knows of how it is reached. Without a word from anybody, that is the setting alone."""

    setting: str
    """`auto`, `public` or `private`, as configured."""
    reached: str = "unknown"
    """`public`, `private` or `unknown`: whether others connect to it without a relay, as far as it was found out."""
    addresses: tuple[OwnAddress, ...] = ()
    """The newest word on each."""
    upnp: str = ""
    """What came of asking the router for a port: why not, or empty where it was not asked or opened one."""
    relays: tuple[RelayPlace, ...] = ()
    """One for each relay that was asked, the places that stand first."""
    punches: tuple[Punch, ...] = ()
    """One for each peer, the newest first; bounded by whoever keeps them."""
