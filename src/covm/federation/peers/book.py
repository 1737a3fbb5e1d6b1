"""The address book: where peers may be found, who said so and when. Everything in it is a hint; nothing is proven."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

MAX_PEERS = 1_000
"""Peers in the book. Anyone can invent peers; twenty times `max_connections` is plenty to choose from."""

MAX_ADDRESSES = 8
"""Addresses kept for a peer: some interfaces with a few transports each."""

MAX_ADDRESS_LENGTH = 256
"""Characters of an address; a relayed one with two peer ids has some 200."""


class Source(IntEnum):
    """Who gave an address; the higher, the more it is believed and the longer it is kept."""

    MDNS = 0
    KADEMLIA = 1
    PEER_HINTS = 2
    """A connected peer says that it is connected with it."""
    PEER_INFO = 3
    CONNECTED = 4
    """We were connected through it."""
    BOOTSTRAP = 5
    OPERATOR = 6


DISCOVERY = (Source.MDNS, Source.KADEMLIA, Source.PEER_HINTS)
"""Hints from these are dialled by themselves; an address learnt otherwise is for when somebody asks."""


@dataclass(slots=True)
class Known:
    """One address of one peer."""

    source: Source
    """The most believed of those who gave it."""
    seen_ms: int
    is_found: bool
    """Whether discovery gave it, too."""


class AddressBook:
    """Bounded. When it is full, the peer makes room that was heard of longest ago and that nobody needs."""

    def __init__(self, needed: Callable[[str], bool]) -> None:
        self._needed = needed
        self._peers: OrderedDict[str, dict[str, Known]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, peer: str) -> bool:
        return peer in self._peers

    def peers(self) -> list[str]:
        return list(self._peers)

    def add(self, peer: str, addresses: Iterable[str], source: Source, now_ms: int) -> bool:
        """Remembers the addresses; False when the book is full of peers that are needed."""
        known = self._peers.get(peer)
        if known is None:
            if len(self._peers) >= MAX_PEERS and not self._make_room():
                return False
            known = self._peers[peer] = {}
        self._peers.move_to_end(peer)
        for address in addresses:
            if len(address) <= MAX_ADDRESS_LENGTH:
                self._note(known, address, source, now_ms)
        return True

    def addresses(self, peer: str) -> list[str]:
        """The peer's addresses, the most believed and then the most recent first."""
        known = self._peers.get(peer, {})
        return sorted(known, key=lambda address: (-known[address].source, -known[address].seen_ms, address))

    def hinted(self) -> list[str]:
        """Peers that discovery found, those heard of latest first."""
        return [peer for peer in reversed(self._peers) if any(known.is_found for known in self._peers[peer].values())]

    def remove(self, peer: str, address: str) -> None:
        """Forgets an address that proved false, and the peer with its last one."""
        known = self._peers.get(peer, {})
        known.pop(address, None)
        if not known:
            self._peers.pop(peer, None)

    def _note(self, known: dict[str, Known], address: str, source: Source, now_ms: int) -> None:
        held = known.get(address)
        if held is not None:
            held.source, held.seen_ms = max(held.source, source), now_ms
            held.is_found = held.is_found or source in DISCOVERY
            return
        if len(known) >= MAX_ADDRESSES:
            least = min(known, key=lambda each: (known[each].source, known[each].seen_ms))
            if known[least].source > source:
                return
            del known[least]
        known[address] = Known(source, now_ms, source in DISCOVERY)

    def _make_room(self) -> bool:
        for peer in self._peers:
            if not self._needed(peer):
                del self._peers[peer]
                return True
        return False
