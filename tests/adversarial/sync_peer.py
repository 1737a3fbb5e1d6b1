"""A peer that is let in like any other and then says whatever it likes on sync streams, its own and the victim's."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from tests.unit.members_world import in_time
from tests.unit.records_world import Author
from tests.unit.simulated_world import Node, key
from tests.unit.test_sync_stories import all_have, eventually, met, notes

from covm._native import cid
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    SYNC_PROTOCOL,
    FramesReceived,
    NetworkEvent,
    StreamClosed,
    StreamOpened,
)
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.sync_frames import (
    Carried,
    Found,
    KnownSyncFrame,
    Roots,
    SyncHello,
    SyncRequest,
    SyncResponse,
    Tip,
    Told,
    decode_sync_frame,
    encode_sync_frame,
)
from covm.testing.machine import Machine
from covm.testing.world import World

FEDERATION = open_federation("covm").cid
NOTE = "notes.note"
ROOT = bytes([7]) * 32
LINK = cid(b"anything")
A_WHILE = timedelta(seconds=40)
"""More than an upkeep, and than an answer may take."""

_numbers = itertools.count()

Answers = Callable[[SyncRequest], Sequence[KnownSyncFrame | bytes]]


def silent(_request: SyncRequest) -> Sequence[KnownSyncFrame | bytes]:
    """Says nothing."""
    return ()


class SyncPeer(Node):
    """Joins as anyone may; `roots` and `answers` are what it says on the victim's stream."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world.fabric.network(key(number)))
        self.answers: Answers = silent
        self.roots: Roots | None = []
        """None: it does not say HELLO."""
        self.asked: list[SyncRequest] = []
        """What the victim asked."""
        self.theirs: list[int] = []
        """The streams that the victim opened."""

    @classmethod
    async def join(cls, world: World, victim: Machine, number: int = 66, **says: Any) -> SyncPeer:
        peer = cls(world, number)
        for name, value in says.items():
            setattr(peer, name, value)
        await peer.network.start(peer, encode_join_hello(JoinHello(federation=FEDERATION)))
        await peer.network.subscribe(open_federation("covm").topic)
        await peer.network.dial(None, [address.partition("/p2p/")[0] for address in victim.service.addresses])
        await in_time(lambda: peer.theirs and peer.heard(FramesReceived))
        await peer._settle(victim)
        return peer

    async def _settle(self, victim: Machine) -> None:
        """Says on direct streams what the victim says: so it counts as connected, and is left alone."""
        streams = [event.stream for event in self.heard(StreamOpened) if event.protocol == DIRECT_PROTOCOL]
        [hello, *_] = [event.frames[0] for event in self.heard(FramesReceived) if event.stream in streams]
        self.network.try_send(streams[-1], [hello])
        self.network.try_send(await self.network.open_stream(victim.peer_id, DIRECT_PROTOCOL), [hello])

    def on_network_events(self, events: Sequence[NetworkEvent]) -> None:
        super().on_network_events(events)
        for event in events:
            if isinstance(event, StreamOpened) and event.protocol == SYNC_PROTOCOL:
                self.theirs.append(event.stream)
            elif isinstance(event, FramesReceived) and event.stream in self.theirs:
                for data in event.frames:
                    self._answer(event.stream, decode_sync_frame(data))

    def _answer(self, stream: int, frame: Any) -> None:
        if isinstance(frame, SyncHello) and self.roots is not None:
            self.say(stream, SyncHello((1, 0), self.roots))
        elif isinstance(frame, SyncRequest):
            self.asked.append(frame)
            self.say(stream, *self.answers(frame))

    async def open(self, victim: Machine, *, greets: bool = True) -> int:
        stream = await self.network.open_stream(victim.peer_id, SYNC_PROTOCOL)
        if greets:
            self.say(stream, SyncHello((1, 0)))
            await in_time(lambda: self.said_on(stream))
        return stream

    def say(self, stream: int, *frames: KnownSyncFrame | bytes) -> None:
        raw = [frame if isinstance(frame, bytes) else encode_sync_frame(frame) for frame in frames]
        for each in raw:
            assert self.network.try_send(stream, [each])

    def said_on(self, stream: int) -> list[Any]:
        """What the victim said on a stream."""
        events = [event for event in self.heard(FramesReceived) if event.stream == stream]
        return [decode_sync_frame(data) for event in events for data in event.frames]

    def is_closed(self, stream: int) -> bool:
        return stream in {event.stream for event in self.heard(StreamClosed)}


class Scribbler(Author):
    """Writes records of the open federation."""

    def write(self, key: str, value: Any = None, **how: Any) -> SignedRecord:
        return super().write(key, value, **{"federation": FEDERATION, **how})

    def carried(self, *records: SignedRecord) -> list[Carried]:
        return [Carried(each.envelope, self.bodies.get(each.id)) for each in records]


def dropped(machine: Machine, reason: str) -> int:
    return int(machine.service.stats()["dropped"].get(reason, 0))


@asynccontextmanager
async def scene() -> AsyncIterator[World]:
    """A victim and an honest node; at the end they still sync, and nothing of theirs has failed."""
    quiet = {"heartbeat_interval": timedelta(minutes=10)}
    """So that a peer that never says a heartbeat is not lost."""
    async with World(names=["victim", "honest"], config=quiet) as world:
        await met(world)
        victim, honest = world.machines
        await still_syncs(world)
        yield world
        await still_syncs(world)
        assert victim.service.stats()["faults"] == honest.service.stats()["faults"] == 0


async def still_syncs(world: World) -> None:
    for machine in world.machines:
        value = next(_numbers)
        await notes(machine).put(f"{machine.name} writes", value)
        await eventually(lambda machine=machine, value=value: all_have(world.machines, f"{machine.name} writes", value))  # type: ignore[misc]


def chain(length: int, name: str = "mallory") -> tuple[Scribbler, list[SignedRecord]]:
    author, records = Scribbler(name), list[SignedRecord]()
    for number in range(length):
        records.append(author.write(f"{name} {number}", number, after=records[-1] if records else None))
    return author, records


def told(*records: SignedRecord) -> Told:
    tips = sorted((Tip(each.body.seq, each.id) for each in records), key=lambda tip: (tip.seq, tip.id.bytes))
    return Told(records[0].body.log, tuple(tips))


def holding(record: SignedRecord, answer: Callable[[SyncRequest], list[Carried]]) -> Callable[[SyncRequest], Any]:
    """Says that it has a log up to this record, and answers questions for it with what a test says."""

    def answers(request: SyncRequest) -> Sequence[SyncResponse]:
        if request.probes:
            return [SyncResponse(number=request.number, found=[Found(b"", [], [told(record)])])]
        return [SyncResponse(number=request.number, records=answer(request))]

    return answers
