"""How this node is reached: what is known of it, and the places at relays that it takes where nothing else helps."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from covm.federation.clock import Clock, Random
from covm.federation.config import FederationConfig
from covm.federation.errors import NetworkError
from covm.federation.network import interface as net
from covm.federation.peers.backoff import Backoff
from covm.federation.peers.detours import Detours
from covm.federation.peers.record import PeerRecord
from covm.federation.peers.relay_choice import (
    Held,
    Offer,
    chosen,
    gives_back,
    needs_relays,
    ordered,
    relay_addresses,
    surplus,
)
from covm.federation.peers.roster import Roster
from covm.federation.reachability import OwnAddress, Reachability, RelayPlace
from covm.federation.supervisor import Supervisor
from covm.federation.wire.multiaddr import is_loopback, network_of

logger = logging.getLogger("covm.federation.peers")

RELAY: Final = "relay"
"""The capability in `PeerInfo` of a node that relays for others."""

LOOK_S: Final = 1.0
"""How often it is looked whether there is something to do, beside whenever something has changed."""

ANSWER_S: Final = 60.0
"""So long a relay may take to answer."""

REFUSED: Final = Backoff(5.0, 900.0)
"""Waits before a relay that refused, or that lost the place, is asked again."""

SETTLED_S: Final = 60.0
"""A place that stood for so long was no mistake: when it is lost, the relay may be asked again soon."""

MAX_ADDRESSES: Final = 64
"""Addresses of this node of which anything is remembered."""

MAX_RELAYS: Final = 64
"""Relays that are remembered: those that refused, so that they are not asked again and again."""


@dataclass(slots=True)
class Place:
    """What became of a request for a place at a relay."""

    relay: str
    address: str
    """Where the relay is; ends in its peer id."""
    state: str
    since_ms: int
    since_s: float
    why: str = ""
    failures: int = 0
    retry_at_s: float = 0.0
    useful_s: float = 0.0
    given_back: str = ""
    """Why this node gives it back; empty while it does not."""
    outside: str = ""
    """Where those in other houses may reach the relay besides, as it says; as in `Offer`."""

    @property
    def through(self) -> str:
        """Where others reach this node, without its peer id."""
        return f"{self.address}/p2p-circuit"

    @property
    def ways(self) -> list[str]:
        """All of these, the best first."""
        return [f"{address}/p2p-circuit" for address in (self.address, self.outside) if address]


class Reach:
    """The shell around `relay_choice`."""

    def __init__(
        self,
        *,
        network: net.Network,
        roster: Roster,
        config: FederationConfig,
        supervisor: Supervisor,
        clock: Clock,
        random: Random,
    ) -> None:
        self._network = network
        self._roster = roster
        self._config = config
        self._supervisor = supervisor
        self._clock = clock
        self._random = random
        self.detours = Detours(network, roster, config, supervisor, clock, random)
        self._announce: Callable[[], None]
        self._reached = "unknown"
        self._since_s: float | None = None
        """Since when that is so; None before the start."""
        self._upnp = ""
        self._addresses: OrderedDict[tuple[str, str], OwnAddress] = OrderedDict()
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._announced: tuple[tuple[str, ...], bool] | None = None
        self._due = asyncio.Event()

    def start(self, announce: Callable[[], None]) -> None:
        """Begins to look for relays; `announce` is called when others should hear of new addresses."""
        self._announce = announce
        self._supervisor.keep(self._run, "places at relays")
        self._supervisor.keep(self.detours.run, "direct ways")

    # --- what is known

    @property
    def relays(self) -> bool:
        """Whether this node carries others' connections."""
        return self._config.enable_relay and self._reached == "public"

    def addresses(self) -> tuple[str, ...]:
        """Where others reach this node, best first; each ends in `/p2p/<peer id>`."""
        own = self._addresses.values()
        confirmed = [each.address for each in own if each.state == "confirmed" and each.source != "relay"]
        relayed = [way for place in self._places.values() if place.state == "accepted" for way in place.ways]
        announced, listening = self._config.announce_addresses, self._network.addresses
        return tuple(ordered(announced, confirmed, relayed, listening, self._network.peer_id))

    def known(self) -> Reachability:
        """All that this node knows of how it is reached."""
        places = sorted(self._places.values(), key=lambda place: place.state != "accepted")
        return Reachability(
            setting=self._config.reachability,
            reached=self._reached,
            addresses=tuple(self._addresses.values()),
            upnp=self._upnp,
            relays=tuple(
                RelayPlace(
                    each.relay, each.state, each.through if each.state == "accepted" else "", each.why, each.since_ms
                )
                for each in places
            ),
            punches=self.detours.punches(),
        )

    # --- what the network tells

    def on_reachability(self, event: net.ReachabilityChanged) -> None:
        self._reached, self._since_s = event.reachability, self._clock.monotonic_s()
        logger.info("others reach this node without a relay: %s", _REACHED.get(event.reachability, event.reachability))
        self._due.set()

    def on_external_address(self, event: net.ExternalAddressChanged) -> None:
        if event.source == "upnp":
            self._upnp = event.detail if event.state != "confirmed" else ""
        if event.address:
            key = (event.address, event.source)
            self._addresses[key] = OwnAddress(event.address, event.source, event.state, event.detail)
            self._addresses.move_to_end(key)
            if len(self._addresses) > MAX_ADDRESSES:
                # A confirmation is told once; of what could not be reached peers may tell without end.
                oldest = next(iter(self._addresses))
                useless = (each for each, own in self._addresses.items() if own.state != "confirmed")
                del self._addresses[next(useless, oldest)]
        self._due.set()

    def on_reservation(self, event: net.ReservationChanged) -> None:
        place = self._places.get(event.relay)
        if place is None:
            return
        if event.state == "lost":
            self._lost(place, event.reason)
        elif place.state != "accepted":
            self._become(place, "accepted", "")
            place.useful_s = place.since_s
            logger.info("this node is reached through the relay %s", place.relay)
        self._due.set()

    def on_opened(self, event: net.ConnectionOpened) -> None:
        if event.relayed and not event.outbound and event.relay is not None:
            place = self._places.get(event.relay)
            if place is not None:
                place.useful_s = self._clock.monotonic_s()
        self.detours.on_opened(event)

    # --- what follows

    async def _run(self) -> None:
        if self._since_s is None:
            self._since_s = self._clock.monotonic_s()
        while True:
            self._due.clear()
            self._look(self._clock.monotonic_s(), self._since_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._due.wait()

    def _look(self, now_s: float, since_s: float) -> None:
        self._tell()
        held = [
            Held(place.relay, place.address, place.useful_s)
            for place in self._places.values()
            if place.state == "accepted" and not place.given_back
        ]
        if gives_back(self._reached, since_s, now_s):
            for each in held:
                self._give_back(each.relay, "this node is reached without a relay")
        elif needs_relays(self._reached, since_s, now_s):
            asked = [network_of(place.address) for place in self._places.values() if place.state == "asking"]
            for offer in chosen(held, asked, self._offers(now_s), now_s):
                self._ask(offer)
            for each in surplus(held):
                self._give_back(each.relay, "nobody came through it for hours: another relay has taken its place")

    def _tell(self) -> None:
        """Connected peers hear of what has changed in `PeerInfo`."""
        described = (self.addresses(), self.relays)
        if self._announced != described:
            is_first, self._announced = self._announced is None, described
            if not is_first:
                self._announce()

    def _offers(self, now_s: float) -> list[Offer]:
        offers = []
        for record in self._roster.connected():
            place = self._places.get(record.peer)
            is_free = place is None or (place.state in ("refused", "lost") and place.retry_at_s <= now_s)
            if is_free and (offer := self._offer_of(record)) is not None:
                offers.append(offer)
        return offers

    def _offer_of(self, record: PeerRecord) -> Offer | None:
        info = record.info
        if info is None or RELAY not in info.capabilities or record.is_relayed:
            return None
        known = self._roster.book.known(record.peer).items()
        worked = [address for address, each in known if each.worked_ms is not None and not each.error]
        near = any(is_loopback(each.address) for each in record.connections.values())
        at = relay_addresses(record.peer, [*record.reached_at, *worked], info.addresses, near=near)
        if not at:
            return None
        connected_s = (self._clock.now_ms() - record.since_ms) / 1000
        round_trip_ms = record.pulse.round_trip_ms if record.pulse is not None else None
        round_trip_ms = round_trip_ms or record.round_trip_ms
        return Offer(record.peer, at[0], connected_s, round_trip_ms, record.kept, "".join(at[1:]))

    def _ask(self, offer: Offer) -> None:
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        place = self._places.setdefault(offer.relay, Place(offer.relay, offer.address, "asking", now_ms, now_s))
        place.address, place.outside, place.given_back = offer.address, offer.outside, ""
        self._become(place, "asking", "")
        self._places.move_to_end(offer.relay)
        self._make_room()
        self._supervisor.launch(self._reserve(place), f"place at {offer.relay}")

    async def _reserve(self, place: Place) -> None:
        """What comes of it the network tells as an event, which may say already that the place is lost."""
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._network.reserve(place.address)
        except NetworkError as error:
            self._refused(place, str(error))
        except TimeoutError:
            self._refused(place, f"it did not answer within {ANSWER_S:g} s")
            await self._network.drop_reservation(place.relay)

    def _refused(self, place: Place, why: str) -> None:
        if place.state == "asking":
            self._become(place, "refused", why)
            place.failures += 1
            place.retry_at_s = place.since_s + REFUSED.delay_s(place.failures, self._random)
            logger.info("no place at the relay %s: %s", place.relay, why)
            self._due.set()

    def _lost(self, place: Place, why: str) -> None:
        now_s = self._clock.monotonic_s()
        place.failures = 1 if now_s - place.since_s >= SETTLED_S else place.failures + 1
        self._become(place, "lost", place.given_back or why)
        pause_s = REFUSED.max_s if place.given_back else REFUSED.delay_s(place.failures, self._random)
        place.retry_at_s, place.given_back = now_s + pause_s, ""
        logger.info("the place at the relay %s is gone: %s", place.relay, place.why)

    def _give_back(self, relay: str, why: str) -> None:
        place = self._places[relay]
        place.given_back = why
        self._supervisor.launch(self._drop(place), f"end of the place at {relay}")

    async def _drop(self, place: Place) -> None:
        """The connection to the relay ends with it: a member that relays stays connected, by a new one."""
        await self._network.drop_reservation(place.relay)
        with suppress(NetworkError):
            await self._network.dial(place.relay, [place.address.removesuffix(f"/p2p/{place.relay}")])

    def _become(self, place: Place, state: str, why: str) -> None:
        place.state, place.why = state, why
        place.since_ms, place.since_s = self._clock.now_ms(), self._clock.monotonic_s()

    def _make_room(self) -> None:
        for relay, place in list(self._places.items()):
            if len(self._places) <= MAX_RELAYS:
                return
            if place.state in ("refused", "lost"):
                del self._places[relay]


_REACHED: Final = {"public": "yes", "private": "no", "unknown": "it is not known"}
