"""The address book: where peers may be found, who said so and when. Everything in it is a hint; nothing is proven.

Peers stand on shelves by the best reason there is to know them, and each shelf has room of its own: what one kind of
source says, however much it is, takes no place from what is known otherwise. On a full shelf a newcomer takes the place
of a peer that is *spent*; where there is none, it is not noted. So a flood of hints keeps out other hints of its kind
until those there have been tried, and pushes out nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from covm.federation.peers.relay_choice import fitting
from covm.federation.wire.multiaddr import place_of

MAX_ADDRESSES = 8
"""Addresses kept for a peer: some interfaces with a few transports each."""

MAX_ADDRESS_LENGTH = 256
"""Characters of an address; a relayed one with two peer ids has some 200."""

MAX_PER_GIVER = 64
"""Peers that are known only because one other peer named them: a quarter of the shelf of its kind."""

LOOKED_AT = 16
"""Peers that are looked at to make room for one: those that must stay are put to the end, for the next time."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Source(IntEnum):
    """Who gave an address; the higher, the more it is believed."""

    MDNS = 0
    KADEMLIA = 1
    EXCHANGE = 2
    """Another peer named it."""
    PEER_INFO = 3
    """The peer itself said so, when it was connected."""
    CONNECTED = 4
    """We were connected through it."""
    BOOTSTRAP = 5
    OPERATOR = 6
    PINNED = 7


DISCOVERY = (Source.MDNS, Source.KADEMLIA, Source.EXCHANGE)
"""Hints from these are dialled by themselves; an address learnt otherwise is for when somebody asks."""

CONFIGURED = (Source.BOOTSTRAP, Source.PINNED)
"""What the configuration says is there again with the next start: it never expires, and is not written down."""

KEPT_MS = {
    Source.MDNS: DAY_MS,
    Source.KADEMLIA: DAY_MS,
    Source.EXCHANGE: 7 * DAY_MS,
    Source.PEER_INFO: 30 * DAY_MS,
    Source.CONNECTED: 30 * DAY_MS,
    Source.OPERATOR: 30 * DAY_MS,
}
"""How long an address is kept that nobody has confirmed since."""


class Shelf(Enum):
    """Where a peer stands in the book, and how many have room there."""

    CONFIGURED = ("configured", 1_024)
    """256 bootstrap peers, as many pinned ones, and those that the operator named."""
    REACHED = ("reached", 1_024)
    """We have been connected to them at an address: twenty times `max_connections` is plenty to come back to."""
    CAME = ("came", 256)
    """They have been connected, each time by coming to us."""
    SAID = ("said", 256)
    """They said where they are, and were never connected."""
    EXCHANGE = ("exchange", 256)
    KADEMLIA = ("kademlia", 256)
    MDNS = ("mdns", 256)

    @property
    def places(self) -> int:
        return self.value[1]


HEARSAY = (Shelf.SAID, Shelf.EXCHANGE, Shelf.KADEMLIA, Shelf.MDNS)
"""Shelves of those that were only heard of. Anyone can invent peers; on these, one that was tried in vain is spent."""

FRESH_MS = dict.fromkeys(HEARSAY, HOUR_MS) | {Shelf.REACHED: 7 * DAY_MS, Shelf.CAME: 7 * DAY_MS}
"""Who was heard of, or connected, so lately is not spent by age."""

MAX_PEERS = sum(shelf.places for shelf in Shelf)
"""Peers in the book: with all their addresses a few megabytes."""

MAX_CHANGES = 4 * MAX_PEERS
"""Changes that wait to be written. Of more the oldest are forgotten: what is written then says what was so before."""


@dataclass(slots=True)
class Known:
    """One address of one peer. Times are in milliseconds since 1970-01-01 UTC."""

    source: Source
    """The most believed of those who gave it."""
    first_ms: int
    """When it was first heard of."""
    heard_ms: int
    """When it was last heard of."""
    tried_ms: int | None = None
    worked_ms: int | None = None
    """When a connection through it last stood."""
    error: str = ""
    """Why the last try failed; empty when it did not, or there was none."""
    is_found: bool = False
    """Whether discovery gave it, too."""


@dataclass(slots=True)
class Entry:
    """What is known of where one peer is."""

    known: dict[str, Known] = field(default_factory=dict)
    met_ms: int | None = None
    """When it was last *connected*."""
    giver: str = ""
    """The peer that named it first, while it is known from such alone."""
    shelf: Shelf | None = None
    is_spent: bool = False
    """Whether it was tried in vain since it was last connected."""

    @property
    def heard_ms(self) -> int:
        return max((known.heard_ms for known in self.known.values()), default=0)

    def best_shelf(self) -> Shelf:
        """Where it belongs, by the best reason there is to know it."""
        best = max(known.source for known in self.known.values())
        if best > Source.CONNECTED:
            return Shelf.CONFIGURED
        if any(known.worked_ms is not None for known in self.known.values()):
            return Shelf.REACHED
        if self.met_ms is not None:
            return Shelf.CAME
        by_source = {Source.MDNS: Shelf.MDNS, Source.KADEMLIA: Shelf.KADEMLIA, Source.EXCHANGE: Shelf.EXCHANGE}
        return by_source.get(best, Shelf.SAID)


class AddressBook:
    """Bounded by shelf, by giver and by peer; what changed is told to who writes it down (`take_changes`)."""

    def __init__(self, needed: Callable[[str], bool], is_member: Callable[[str], bool] = lambda _: False) -> None:
        """`needed` says who must stay; `is_member` whose place no stranger takes."""
        self._needed = needed
        self._is_member = is_member
        self._peers: dict[str, Entry] = {}
        self._shelves: dict[Shelf, OrderedDict[str, None]] = {shelf: OrderedDict() for shelf in Shelf}
        self._given: dict[str, OrderedDict[str, None]] = {}
        self._changed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, peer: str) -> bool:
        return peer in self._peers

    def peers(self) -> list[str]:
        return list(self._peers)

    def known(self, peer: str) -> Mapping[str, Known]:
        """What is known of each of the peer's addresses; nothing of a peer that is not in the book."""
        entry = self._peers.get(peer)
        return entry.known if entry is not None else {}

    def met_ms(self, peer: str) -> int | None:
        """When the peer was last *connected*, in milliseconds since 1970-01-01 UTC."""
        entry = self._peers.get(peer)
        return entry.met_ms if entry is not None else None

    def add(self, peer: str, addresses: Iterable[str], source: Source, now_ms: int, giver: str = "") -> bool:
        """Notes the addresses; False when there is no room for the peer. `giver` is another peer that named it."""
        noted = fitting((each for each in addresses if len(each) <= MAX_ADDRESS_LENGTH), MAX_ADDRESSES)
        if not noted:
            return False
        entry = self._peers.get(peer)
        if entry is None:
            entry = Entry(giver=giver)
            _note(entry, noted[0], source, now_ms)
            if not self._has_room(peer, entry, now_ms):
                return False
            self._peers[peer] = entry
        for address in noted:
            _note(entry, address, source, now_ms)
        self._place(peer, entry, now_ms)
        return True

    def note_tried(self, peer: str, addresses: Iterable[str], now_ms: int) -> None:
        """These are being tried now."""
        for address in addresses:
            if (known := self.known(peer).get(address)) is not None:
                known.tried_ms = now_ms
                self._change(peer)

    def note_failed(self, peer: str, errors: Mapping[str, str]) -> None:
        """The peer was tried in vain, at these addresses for these reasons."""
        entry = self._peers.get(peer)
        if entry is None:
            return
        entry.is_spent = True
        for address, error in errors.items():
            if (known := entry.known.get(address)) is not None:
                known.error = error
        self._change(peer)
        if entry.shelf in HEARSAY:
            self._shelves[entry.shelf].move_to_end(peer, last=False)
        if entry.giver:
            self._given[entry.giver].move_to_end(peer, last=False)

    def note_met(self, peer: str, addresses: Iterable[str], now_ms: int) -> None:
        """The peer is *connected* now, through these of its addresses that we dialled, if any."""
        entry = self._peers.get(peer)
        if entry is None:
            return
        entry.met_ms, entry.is_spent = now_ms, False
        for address in addresses:
            if (known := entry.known.get(address)) is not None:
                known.worked_ms, known.error = now_ms, ""
        self._place(peer, entry, now_ms)

    def tried_ms(self, peer: str) -> int:
        """When the peer was last tried, in milliseconds since 1970-01-01 UTC; 0 when it never was."""
        return max((known.tried_ms or 0 for known in self.known(peer).values()), default=0)

    def is_remembered(self, peer: str) -> bool:
        """Whether it has been *connected* lately enough to be sought by itself."""
        return self.met_ms(peer) is not None

    def is_found(self, peer: str) -> bool:
        """Whether discovery found it."""
        return any(known.is_found for known in self.known(peer).values())

    def remove(self, peer: str, address: str) -> None:
        """Forgets an address that proved false, and the peer with its last one."""
        entry = self._peers.get(peer)
        if entry is None or entry.known.pop(address, None) is None:
            return
        self._change(peer)
        if not entry.known:
            self._drop(peer)

    def expire(self, now_ms: int) -> None:
        """Forgets what nobody has confirmed for too long (`KEPT_MS`), of peers that nothing depends on."""
        for peer, entry in list(self._peers.items()):
            if self._needed(peer):
                continue
            for address in [address for address, known in entry.known.items() if _is_over(known, entry, now_ms)]:
                self.remove(peer, address)

    # --- to be written down ---

    def take_changes(self) -> dict[str, Entry | None]:
        """What changed since the last call, by peer; None for a peer that is gone."""
        changed, self._changed = self._changed, {}
        return {peer: self._peers.get(peer) for peer in changed}

    def put_back(self, peers: Iterable[str]) -> None:
        """These could not be written down; they come with the next changes."""
        for peer in peers:
            self._change(peer)

    def restore(self, peer: str, entry: Entry, now_ms: int) -> None:
        """Brings back what was written down, unless it is too old or there is no room."""
        entry.known = {address: known for address, known in entry.known.items() if not _is_over(known, entry, now_ms)}
        if peer in self._peers or not entry.known or not self._has_room(peer, entry, now_ms):
            self._change(peer)
            return
        self._peers[peer] = entry
        self._place(peer, entry, now_ms)
        self._changed.pop(peer, None)

    def _change(self, peer: str) -> None:
        self._changed[peer] = None
        if len(self._changed) > MAX_CHANGES:
            del self._changed[next(iter(self._changed))]

    # --- room ---

    def _place(self, peer: str, entry: Entry, now_ms: int) -> None:
        """Puts the peer where it belongs now, as the last of those there."""
        self._change(peer)
        shelf = entry.best_shelf()
        if entry.shelf is not None and entry.shelf is not shelf:
            if not self._make_room(self._shelves[shelf], shelf.places, peer, now_ms):
                return  # it stays where it is: there is less room where it would belong
            del self._shelves[entry.shelf][peer]
        entry.shelf = shelf
        row = self._shelves[shelf]
        row[peer] = None
        if not entry.is_spent:
            row.move_to_end(peer)
        if entry.giver and shelf is not Shelf.EXCHANGE:
            self._take_from_giver(peer, entry)
        elif entry.giver:
            self._given.setdefault(entry.giver, OrderedDict())[peer] = None

    def _has_room(self, peer: str, entry: Entry, now_ms: int) -> bool:
        given = self._given.get(entry.giver)
        if given is not None and not self._make_room(given, MAX_PER_GIVER, peer, now_ms):
            return False
        shelf = entry.best_shelf()
        return self._make_room(self._shelves[shelf], shelf.places, peer, now_ms)

    def _make_room(self, row: OrderedDict[str, None], places: int, newcomer: str, now_ms: int) -> bool:
        if len(row) < places:
            return True
        is_member = self._is_member(newcomer)
        for peer in list(_first(row, LOOKED_AT)):
            must_stay = self._needed(peer) or (self._is_member(peer) and not is_member)
            if not must_stay and (self._is_spent(peer, now_ms) or (is_member and not self._is_member(peer))):
                self._drop(peer)
                return True
            if not must_stay and not is_member:
                return False  # behind it are only fresher ones
            row.move_to_end(peer)
        return False

    def _is_spent(self, peer: str, now_ms: int) -> bool:
        entry = self._peers[peer]
        if entry.shelf is None or any(known.source in CONFIGURED for known in entry.known.values()):
            return False
        if entry.shelf is Shelf.CONFIGURED:
            return True  # the operator named it, and keeps it no more
        is_old = now_ms - (entry.met_ms or entry.heard_ms) > FRESH_MS[entry.shelf]
        return is_old or (entry.is_spent and entry.shelf in HEARSAY)

    def _drop(self, peer: str) -> None:
        entry = self._peers.pop(peer)
        self._change(peer)
        if entry.shelf is not None:
            self._shelves[entry.shelf].pop(peer, None)
        self._take_from_giver(peer, entry)

    def _take_from_giver(self, peer: str, entry: Entry) -> None:
        given = self._given.get(entry.giver)
        if given is not None:
            given.pop(peer, None)
            if not given:
                del self._given[entry.giver]
        entry.giver = ""


def _note(entry: Entry, address: str, source: Source, now_ms: int) -> None:
    is_found = source in DISCOVERY
    held = entry.known.get(address)
    if held is not None:
        held.source, held.heard_ms = max(held.source, source), now_ms
        held.is_found = held.is_found or is_found
        return
    if len(entry.known) >= MAX_ADDRESSES:
        least = min(entry.known, key=lambda each: _worth(each, entry.known[each]))
        worst = entry.known[least]
        # As with peers: what anyone may have said makes room for more of it only once it was tried in vain.
        waits = is_found and not worst.error
        if worst.source > source or (worst.source == source and (waits or worst.heard_ms == now_ms)):
            return
        del entry.known[least]
    entry.known[address] = Known(source, now_ms, now_ms, is_found=is_found)


def _worth(address: str, known: Known) -> tuple[Source, bool, int, bool, int]:
    is_own = not place_of(address).is_relayed
    return known.source, not known.error, known.worked_ms or 0, is_own, known.heard_ms


def _is_over(known: Known, entry: Entry, now_ms: int) -> bool:
    """Whether an address is to be forgotten by its age."""
    if known.source in CONFIGURED:
        return False
    confirmed_ms = max(known.heard_ms, known.worked_ms or 0)
    if known.source is Source.PEER_INFO:
        # Said once, when it connected, and right for as long as it was there.
        confirmed_ms = max(confirmed_ms, entry.met_ms or 0)
    return now_ms - confirmed_ms > KEPT_MS[known.source]


def _first(row: OrderedDict[str, None], count: int) -> Iterable[str]:
    return (peer for peer, _ in zip(row, range(count), strict=False))
