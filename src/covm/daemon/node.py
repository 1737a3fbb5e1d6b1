"""The running node, as the routes see it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from covm._native import parse_peer_id
from covm.control.failures import NotFound
from covm.daemon.acquaintances import Acquaintances
from covm.daemon.guest_book import GuestBook
from covm.daemon.notices import Notices
from covm.daemon.peer_names import find_peer
from covm.daemon.received import ReceivedMessages
from covm.daemon.sent_lately import SentLately
from covm.federation import FederationService, events
from covm.federation.errors import NotStarted, StoreError, UnknownPeer


def now_ms() -> int:
    """The time, in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


@dataclass
class RunningNode:
    """A started service and what the process keeps around it."""

    service: FederationService
    did_key: str
    home: Path
    received_types: tuple[str, ...]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the node is asked to stop, by a signal or a request."""
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when ports and home are free."""
    received: ReceivedMessages = field(init=False)
    acquaintances: Acquaintances = field(init=False)
    notices: Notices = field(init=False)
    sent_lately: SentLately = field(default_factory=SentLately)
    started_at_ms: int = field(default_factory=now_ms)
    started_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.acquaintances = Acquaintances(self.current_name_of, now_ms)
        self.notices = Notices(self.name_of, now_ms)
        self._guest_book = GuestBook(self.service.transaction)
        self.received = ReceivedMessages(self.service.transaction, self.kept_name_of)

    async def open(self) -> None:
        """Brings back what the process remembers; once the service has started."""
        self.acquaintances.recall(await self._guest_book.open(now_ms()))
        await self.received.open()

    async def hear(self, event: events.Event) -> None:
        """Lets everyone who remembers know what happened."""
        self.acquaintances.hear(event)
        self.notices.hear(event)
        # A convenience: what cannot be written now is noted with the next connection, or the next start.
        with contextlib.suppress(StoreError, NotStarted):
            match event:
                case events.PeerConnected(peer=peer):
                    await self._guest_book.came(peer, self.name_of(peer), now_ms())
                case events.PeerDisconnected(peer=peer):
                    left_ms = self.acquaintances.offline_since_ms(peer) or now_ms()
                    await self._guest_book.left({peer: self.name_of(peer)}, left_ms)
                case _:
                    pass

    async def close(self) -> None:
        """Notes until when everyone was here; before the service stops."""
        with contextlib.suppress(StoreError, NotStarted):
            await self._guest_book.left({peer: self.name_of(peer) for peer in self.service.connected_peers()}, now_ms())

    @property
    def name(self) -> str:
        """What the node calls itself: its configured name, or the end of its peer id."""
        return self.service.name

    def names(self) -> dict[str, str]:
        """The name that each known peer goes by, or went by, by peer id; "" for those that gave none."""
        remembered = self.acquaintances.names()
        now = {peer.peer_id: peer.name or remembered.get(peer.peer_id, "") for peer in self.service.peers()}
        return remembered | now | {peer: name for peer, name in self._signed_names().items() if peer != self.peer_id}

    @property
    def peer_id(self) -> str:
        """The node's peer id."""
        return self.service.peer_id

    def _signed_names(self) -> Mapping[str, str]:
        """What members call their nodes, by peer id; none in `open` mode."""
        return self.service.members.node_names() if self.service.config.membership == "members" else {}

    def name_of(self, peer: str) -> str:
        """The name that a peer goes by, or went by when it was last here; "" if it has none here."""
        return self.current_name_of(peer) or self.acquaintances.name_of(peer)

    def current_name_of(self, peer: str) -> str:
        """The name that a peer goes by now, "" if it has none here."""
        if peer == self.service.peer_id:
            return self.name
        if (signed := self._signed_names().get(peer)) is not None:
            return signed
        try:
            return self.service.get_peer_info(peer).name
        except UnknownPeer:
            return ""

    def kept_name_of(self, peer: str) -> str:
        """As `name_of`, for any thread."""
        return self.name if peer == self.service.peer_id else self.acquaintances.name_of(peer)

    def find(self, text: str) -> str:
        """The full id of the peer that `text` means. Raises `NotFound`, `Invalid`."""
        return find_peer(text, self.names(), self._members_of_nodes(), self._signed_names())

    def find_banned(self, text: str) -> str:
        """The full id of the banned peer or member that `text` means. Raises `NotFound` for what is not banned."""
        names = self.names() | self.member_names()
        try:
            return find_peer(text, {ban.peer: names.get(ban.peer, "") for ban in self.service.bans()})
        except NotFound:
            peer = self.find_anyone(text)
        raise NotFound(
            f"{names.get(peer) or 'this peer'} ({peer}) is not banned; `covm federation bans` lists who is",
            code="not_banned",
            details={"peer": peer},
        )

    def find_member(self, text: str) -> str:
        """The id of the member that `text` means. Raises `UnknownMember`, `NotAMember` in `open` mode."""
        return self.service.members.show(text).id

    def member_names(self) -> dict[str, str]:
        """What members call themselves, by id; none in `open` mode."""
        if self.service.config.membership != "members":
            return {}
        return {each.id: each.name for each in self.service.members.listed()}

    def _members_of_nodes(self) -> dict[str, str]:
        if self.service.config.membership != "members":
            return {}
        return {node.peer_id: each.id for each in self.service.members.listed() for node in each.nodes}

    def find_anyone(self, text: str) -> str:
        """As `find`; a whole peer id needs nobody to know it."""
        try:
            return parse_peer_id(text)
        except ValueError:
            return self.find(text)
