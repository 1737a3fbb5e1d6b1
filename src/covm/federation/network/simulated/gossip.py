"""Gossip of one simulated node: a flood through admitted subscribers, with the verdicts of this node in between.

There is no mesh: every message goes to every subscribed neighbour that is not known to have it. What a message is
(real envelopes, canonical, ids over topic and raw bytes) and what a verdict does is as in the native core.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from covm import _native
from covm.federation.errors import MessageTooLarge
from covm.federation.network.interface import (
    GossipReceived,
    GossipRejected,
    NetworkEvent,
    Published,
    TopicJoined,
    TopicLeft,
    Verdict,
)
from covm.federation.network.simulated import limits
from covm.federation.network.simulated.packets import Gossip, Packet, Subscribe, Unsubscribe
from covm.federation.network.simulated.standing import Standing
from covm.federation.wire.kinds import Kind


def gossip_id(topic: str, envelope: bytes) -> bytes:
    """SHA-256 over the topic, after its length as eight bytes, big-endian, and the bytes as they travel."""
    name = topic.encode()
    return hashlib.sha256(len(name).to_bytes(8, "big") + name + envelope).digest()


class Owner(Protocol):
    """What gossip needs of its node."""

    def emit(self, event: NetworkEvent) -> None: ...

    def emit_gossip(self, event: GossipReceived) -> list[int]:
        """Returns the handles of waiting messages that had to give way."""

    def send_to(self, peer: str, packet: Packet) -> bool:
        """Sends over the best admitted connection; False if the packet was lost."""

    def cut_off(self, peer: str) -> None:
        """Closes every connection to a peer that has cost too much."""


@dataclass(slots=True)
class _Undecided:
    """A message that waits for its verdict; `holders` are the neighbours that have it already."""

    topic: str
    envelope: bytes
    source: str
    deadline_s: float
    holders: set[str] = field(default_factory=set)


class GossipState:
    """Topics, duplicates, verdicts and standing of one node."""

    def __init__(self, owner: Owner, drops: Counter[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._drops = drops
        self._topics: dict[str, None] = {}
        self._peers: dict[str, dict[str, None]] = {}
        self._seen: OrderedDict[bytes, int | None] = OrderedDict()
        self._undecided: dict[int, _Undecided] = {}
        self._next_handle = 1
        self._expiry: asyncio.TimerHandle | None = None
        self._standing = Standing()

    @property
    def undecided(self) -> int:
        return len(self._undecided)

    def close(self) -> None:
        """Forgets what waits."""
        self._undecided.clear()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    # --- topics ---

    def subscribe(self, topic: str) -> None:
        if topic not in self._topics:
            self._topics[topic] = None
            self._tell_all(Subscribe((topic,)))

    def unsubscribe(self, topic: str) -> None:
        if topic in self._topics:
            del self._topics[topic]
            self._tell_all(Unsubscribe(topic))

    def peer_opened(self, peer: str) -> None:
        """A connection to the peer is admitted on both sides: say what we listen to."""
        self._peers.setdefault(peer, {})
        if self._topics:
            self._owner.send_to(peer, Subscribe(tuple(self._topics)))

    def peer_gone(self, peer: str) -> None:
        self._peers.pop(peer, None)

    def peer_subscribed(self, peer: str, topics: Iterable[str]) -> None:
        known = self._peers[peer]
        for topic in topics:
            if topic in known:
                continue
            if len(known) >= limits.GOSSIP_TOPICS_PER_PEER:
                self._drops["too_many_topics"] += 1
                return
            known[topic] = None
            self._owner.emit(TopicJoined(peer, topic))

    def peer_unsubscribed(self, peer: str, topic: str) -> None:
        if topic in self._peers[peer]:
            del self._peers[peer][topic]
            self._owner.emit(TopicLeft(peer, topic))

    # --- messages ---

    def publish(self, topic: str, envelopes: Sequence[bytes]) -> list[Published]:
        """Sends new envelopes to every subscribed neighbour. Raises `MessageTooLarge` before any is sent."""
        for envelope in envelopes:
            if len(envelope) > limits.GOSSIP_ENVELOPE_BYTES:
                raise MessageTooLarge("a gossip envelope", len(envelope), limits.GOSSIP_ENVELOPE_BYTES)
        return [self._publish_one(topic, envelope) for envelope in envelopes]

    def receive(self, source: str, topic: str, envelope: bytes) -> None:
        """Takes a message from a neighbour: drops it, refuses it, or asks the handler for a verdict."""
        if self._standing.is_cut_off(source, self._loop.time()):
            self._drops["source_cut_off"] += 1
            return
        if len(envelope) > limits.GOSSIP_ENVELOPE_BYTES:
            self._reject(source, topic, "too_large", len(envelope))
            return
        if topic not in self._topics:
            self._drops["topic_not_joined"] += 1
            return
        identity = gossip_id(topic, envelope)
        if identity in self._seen:
            self._note_duplicate(source, identity)
            return
        opened = _native.open_envelopes(Kind.MESSAGE.value, [envelope])[0]
        if isinstance(opened, str):
            self._remember(identity, None)
            self._reject(source, topic, opened, len(envelope))
            return
        author, body = opened
        handle = self._await_verdict(source, topic, envelope)
        self._remember(identity, handle)
        event = GossipReceived(handle, topic, source, author, identity, body, len(envelope))
        for dropped in self._owner.emit_gossip(event):
            self._ignore(dropped, "gossip_queue_full")

    def judge(self, verdicts: Sequence[tuple[int, Verdict]]) -> None:
        """Forwards, forgets or charges. A handle that is not known any more is no error."""
        for handle, verdict in verdicts:
            message = self._undecided.pop(handle, None)
            if message is None:
                continue
            if verdict is Verdict.ACCEPT:
                self._forward(message)
            elif verdict is Verdict.REJECT:
                self.charge(message.source, limits.INVALID_MESSAGE_PENALTY)

    def charge(self, peer: str, amount: float) -> None:
        if self._standing.charge(peer, amount, self._loop.time()) >= limits.CUT_OFF_PENALTY:
            self._owner.cut_off(peer)

    # --- within ---

    def _tell_all(self, packet: Packet) -> None:
        for peer in list(self._peers):
            self._owner.send_to(peer, packet)

    def _publish_one(self, topic: str, envelope: bytes) -> Published:
        identity = gossip_id(topic, envelope)
        subscribers = sum(topic in topics for topics in self._peers.values())
        if identity not in self._seen:
            self._remember(identity, None)
            self._flood(topic, envelope, frozenset())
        return Published(identity, subscribers)

    def _forward(self, message: _Undecided) -> None:
        self._flood(message.topic, message.envelope, message.holders)

    def _flood(self, topic: str, envelope: bytes, holders: set[str] | frozenset[str]) -> None:
        packet = Gossip(topic, envelope)
        targets = [peer for peer, topics in self._peers.items() if topic in topics and peer not in holders]
        for peer in targets:
            if not self._owner.send_to(peer, packet):
                self._drops["lost_on_link"] += 1

    def _remember(self, identity: bytes, handle: int | None) -> None:
        self._seen[identity] = handle
        if len(self._seen) > limits.GOSSIP_SEEN:
            self._seen.popitem(last=False)

    def _note_duplicate(self, source: str, identity: bytes) -> None:
        self._drops["duplicate"] += 1
        handle = self._seen[identity]
        if handle is not None and (message := self._undecided.get(handle)) is not None:
            message.holders.add(source)

    def _reject(self, source: str, topic: str, reason: str, size_bytes: int) -> None:
        self._drops[reason] += 1
        self._owner.emit(GossipRejected(topic, source, reason, size_bytes))
        self.charge(source, limits.INVALID_MESSAGE_PENALTY)

    def _await_verdict(self, source: str, topic: str, envelope: bytes) -> int:
        handle = self._next_handle
        self._next_handle += 1
        if len(self._undecided) >= limits.GOSSIP_AWAITING:
            self._ignore(next(iter(self._undecided)), "too_many_undecided")
        deadline_s = self._loop.time() + limits.VERDICT_DEADLINE_S
        self._undecided[handle] = _Undecided(topic, envelope, source, deadline_s, {source})
        if self._expiry is None:
            self._expiry = self._loop.call_at(deadline_s, self._expire)
        return handle

    def _ignore(self, handle: int, reason: str) -> None:
        if self._undecided.pop(handle, None) is not None:
            self._drops[reason] += 1

    def _expire(self) -> None:
        """Ignores what was not judged in time. Deadlines follow the handles' order, so the oldest stands first."""
        self._expiry = None
        now_s = self._loop.time()
        while self._undecided:
            handle, message = next(iter(self._undecided.items()))
            if message.deadline_s > now_s:
                self._expiry = self._loop.call_at(message.deadline_s, self._expire)
                return
            self._ignore(handle, "verdict_too_late")
