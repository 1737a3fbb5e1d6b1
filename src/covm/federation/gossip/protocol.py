"""The gossip protocol: publishes to the federation's topic, judges what arrives, hands on what is accepted.

Everything published in one turn of the loop is sealed and sent as one batch; everything that arrived in one batch is
judged in one call. The verdict waits neither for handlers nor for the disk. A payload above 64 KiB is kept here for
others to fetch, and its id is published.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from covm import _native
from covm.federation.clock import Clock, Random
from covm.federation.counters import Counters
from covm.federation.errors import FederationError, NotStarted
from covm.federation.events import EventHub
from covm.federation.gossip.announced import Announced, Announcement
from covm.federation.gossip.held import Held
from covm.federation.gossip.journal import WindowJournal
from covm.federation.gossip.log import GossipLog, GossipLogEntry
from covm.federation.gossip.numbers import OwnNumbers
from covm.federation.gossip.verdicts import Judge, Judgement
from covm.federation.network.interface import GossipReceived, GossipRejected, Network, Verdict
from covm.federation.ports import GOSSIP, LOCAL, UNKNOWN_MEMBER, Access, Arrival, Contents, Inbound, Membership
from covm.federation.store.interface import Store
from covm.federation.supervisor import Supervisor
from covm.federation.wire.federation_id import FederationId
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_GOSSIP_BODY, MID_SIZE, clamped_ms
from covm.federation.wire.message import Content, MessageBody, encode_body, payload_size

MAX_BATCH = 512
"""Messages sealed and published at once: as many as gossipsub queues for a peer."""

MAX_PENDING = 10_000
"""Publications that wait for the network; who publishes more has to wait for them."""

CHARGE_OVER_ALLOWANCE = 0.1
"""What a message above its allowance costs an author who hands it over in person. A forwarder pays nothing."""

_SAID = {Verdict.ACCEPT: "accept", Verdict.IGNORE: "ignore", Verdict.REJECT: "reject"}


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """A message on its way to the federation: its id, and how many subscribed connected peers it went towards."""

    id: str
    """32 hexadecimal digits; of a durable type the record's id."""
    peers: int
    """0 when nobody is connected, which is no error."""


class _Pending:
    """`body` is what this node's own handlers get, `encoded` what travels: without a payload that is fetched."""

    __slots__ = ("body", "done", "encoded")

    def __init__(self, body: MessageBody, encoded: bytes, done: asyncio.Future[PublishedMessage]) -> None:
        self.body = body
        self.encoded = encoded
        self.done = done


class GossipProtocol:
    """The shell around `Judge`, for the one topic of the federation."""

    def __init__(
        self,
        *,
        network: Network,
        federation: FederationId,
        access: Access,
        membership: Membership,
        inbound: Inbound,
        contents: Contents,
        store: Store,
        supervisor: Supervisor,
        counters: Counters,
        hub: EventHub,
        clock: Clock,
        random: Random,
        allowance_per_s: float,
        max_message_bytes: int,
        log_size: int,
    ) -> None:
        self._network = network
        self._federation = federation
        self._inbound = inbound
        self._contents = contents
        self._supervisor = supervisor
        self._counters = counters
        self._hub = hub
        self._clock = clock
        self._random = random
        self._peer_id = network.peer_id
        self._judge = Judge(
            federation, network.peer_id, allowance_per_s, access.is_banned, membership, access.is_connected
        )
        self._membership = membership
        self._held = Held(self._judge_batch)
        membership.on_change(self._held.release)
        self._incarnation: Incarnation | None = None
        self._max_message_bytes = max_message_bytes
        self._numbers = OwnNumbers(store, federation.topic)
        self._pending: list[_Pending] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self.log = GossipLog(log_size)
        self._announced = Announced(
            contents=contents,
            inbound=inbound,
            supervisor=supervisor,
            counters=counters,
            hub=hub,
            clock=clock,
            log=self.log,
            max_message_bytes=max_message_bytes,
        )
        self._journal = WindowJournal(
            store=store,
            topic=federation.topic,
            windows=self._judge.windows,
            inbound=self._announced,
            supervisor=supervisor,
            counters=counters,
            hub=hub,
            clock=clock,
        )

    async def start(self, incarnation: Incarnation) -> None:
        """Loads what outlives a restart, then takes part. Raises `StoreError`."""
        await self.begin(incarnation)
        await self._journal.start()
        await self._network.subscribe(self._federation.topic)
        self._supervisor.keep(self._flush, "gossip publisher")

    async def begin(self, incarnation: Incarnation) -> None:
        """Publishes under this incarnation from now on; a new one begins at 1. Raises `StoreError`."""
        await self._numbers.begin(incarnation)
        self._incarnation = incarnation

    @property
    def waiting(self) -> int:
        """Accepted messages that wait for the store before handlers get them."""
        return self._journal.waiting

    def stop(self) -> None:
        for pending in self._pending:
            _fail(pending, NotStarted())
        self._pending.clear()
        self._held.close()
        self._incarnation = None
        self._room.set()
        self.log.close()

    async def publish(self, type_name: str, payload: object, limit_bytes: int) -> PublishedMessage:
        """Publishes one message. Raises before anything is sent: `MessageTooLarge`, `InvalidMessage`, `StoreError`."""
        while len(self._pending) >= MAX_PENDING:
            self._room.clear()
            await self._room.wait()
        await self._numbers.ready()
        body, encoded = self._composed(type_name, payload, min(limit_bytes, self._max_message_bytes))
        if len(encoded) > MAX_GOSSIP_BODY and payload_size(payload) > MAX_GOSSIP_BODY:
            data = _native.encode(payload)
            content = Content(await self._contents.keep(data), len(data))
            await self._numbers.ready()
            body, encoded = self._composed(type_name, None, MAX_GOSSIP_BODY, content)
            body = msgspec.structs.replace(body, payload=payload, content=None)
        self._numbers.take()
        done: asyncio.Future[PublishedMessage] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(body, encoded, done))
        self._wake.set()
        return await done

    def _composed(
        self, type_name: str, payload: object, limit_bytes: int, content: Content | None = None
    ) -> tuple[MessageBody, bytes]:
        if self._incarnation is None:
            raise NotStarted
        body = MessageBody(
            federation=self._federation.cid,
            type=type_name,
            author=self._peer_id,
            incarnation=self._incarnation,
            seq=self._numbers.following,
            mid=self._random.bytes(MID_SIZE),
            to=None,
            sent_at=clamped_ms(self._clock.now_ms()),
            expires_at=None,
            payload=payload,
            content=content,
        )
        return body, encode_body(body, limit_bytes)

    def on_gossip(self, batch: Sequence[GossipReceived]) -> None:
        """Judges a batch in one call and hands the accepted on."""
        self._judge_batch(batch)

    def _judge_batch(self, batch: Sequence[GossipReceived], is_last: bool = False) -> None:
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        verdicts: list[tuple[int, Verdict]] = []
        arrivals: list[Arrival] = []
        in_person: Counter[str] = Counter()
        for received in batch:
            judgement = self._judge.judge(received, now_ms, now_s)
            if judgement.reason == UNKNOWN_MEMBER and not is_last:
                self._membership.wanted(received.source)
                if self._held.hold(received):
                    continue
            verdicts.append((received.handle, judgement.verdict))
            self._note(received, judgement, now_ms)
            body = judgement.body
            if judgement.verdict is Verdict.ACCEPT and body is not None:
                self._counters.gossip_in.add(body.type, received.size_bytes)
                if body.content is None:
                    arrivals.append(Arrival(body, GOSSIP, received.size_bytes))
                else:
                    arrivals.append(Announcement(body, body.content, received.size_bytes, received.source))
            else:
                self._turned_away(received, judgement, in_person)
        self._network.judge(verdicts)
        for peer, count in in_person.items():
            self._network.charge(peer, CHARGE_OVER_ALLOWANCE * count)
        if arrivals:
            self._journal.add(arrivals)

    def on_rejected(self, event: GossipRejected) -> None:
        """The core refused an envelope by itself and charged its source."""
        self._counters.drop(event.reason)
        self._hub.reject(event.source, event.reason)
        now_ms = self._clock.now_ms()
        self.log.add(GossipLogEntry(now_ms, "in", "", "", "", event.source, event.size_bytes, "reject", event.reason))

    def _turned_away(self, received: GossipReceived, judgement: Judgement, in_person: Counter[str]) -> None:
        self._counters.drop(judgement.reason)
        if judgement.verdict is Verdict.REJECT:
            self._hub.reject(received.source, judgement.reason)
        elif judgement.reason == "over_allowance" and received.source == received.author:
            in_person[received.source] += 1

    def _note(self, received: GossipReceived, judgement: Judgement, now_ms: int) -> None:
        body = judgement.body
        self.log.add(
            GossipLogEntry(
                now_ms,
                "in",
                body.type if body is not None else "",
                body.mid.hex() if body is not None else "",
                received.author,
                received.source,
                received.size_bytes,
                _SAID[judgement.verdict],
                judgement.reason,
            )
        )

    async def _flush(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = self._pending[:MAX_BATCH]
                del self._pending[:MAX_BATCH]
                self._room.set()
                try:
                    await self._send(batch)
                except FederationError as error:
                    for pending in batch:
                        _fail(pending, error)
                finally:
                    for pending in batch:
                        _fail(pending, NotStarted())

    async def _send(self, batch: Sequence[_Pending]) -> None:
        network, topic = self._network, self._federation.topic
        envelopes = await network.seal(Kind.MESSAGE, [pending.encoded for pending in batch])
        published = await network.publish(topic, envelopes)
        now_ms = self._clock.now_ms()
        arrivals: list[Arrival] = []
        for pending, envelope, result in zip(batch, envelopes, published, strict=True):
            body, size_bytes = pending.body, len(envelope)
            message_id = body.mid.hex()
            self._counters.gossip_out.add(body.type, size_bytes)
            self.log.add(
                GossipLogEntry(
                    now_ms, "out", body.type, message_id, self._peer_id, self._peer_id, size_bytes, "accept", ""
                )
            )
            arrivals.append(Arrival(body, LOCAL, size_bytes))
            if not pending.done.done():
                pending.done.set_result(PublishedMessage(message_id, result.peers))
        self._inbound.deliver(arrivals)


def _fail(pending: _Pending, error: FederationError) -> None:
    if not pending.done.done():
        pending.done.set_exception(error)
