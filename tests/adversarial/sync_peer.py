"""A peer that is let in like any other and then says whatever it likes on sync streams, both asking and answering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.adversarial.blob_peer import RawPeer
from tests.unit.records_world import Author

from covm.federation import FederationService
from covm.federation.network.interface import SYNC_PROTOCOL, FramesReceived, NetworkEvent, StreamOpened
from covm.federation.sync.descent import answer
from covm.federation.sync.frontier import Frontier
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.sync_frames import (
    Carried,
    KnownSyncFrame,
    Roots,
    SyncHello,
    SyncRequest,
    SyncResponse,
    Tip,
    decode_sync_frame,
    encode_sync_frame,
)


class Lies:
    """Answers as one that holds these records would, and spoils them."""

    def __init__(self, type_name: str, records: Sequence[SignedRecord], author: Author) -> None:
        self.type = type_name
        self.records = list(records)
        self.author = author
        last = self.records[-1]
        self.frontier = Frontier.of({last.body.log: (Tip(last.body.seq, last.id),)})

    @property
    def roots(self) -> Roots:
        return [(self.type, self.frontier.root)]

    def __call__(self, request: SyncRequest) -> KnownSyncFrame | None:
        if request.probes:
            return SyncResponse(number=request.number, found=answer(self.frontier, request.probes, 100_000))
        return SyncResponse(number=request.number, records=self.carried())

    def carried(self) -> list[Carried]:
        """The records."""
        return [Carried(each.envelope, self.author.bodies[each.id]) for each in self.records]


class SyncPeer(RawPeer):
    """Answers the victim's questions, which are in `asked`, with `lies`; without any it has nothing."""

    lies: ClassVar[Lies | None] = None
    greets: ClassVar[bool] = True
    """Whether it says HELLO on the victim's streams."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.asked: list[SyncRequest] = []
        self.theirs: set[int] = set()

    def on_network_events(self, events: Sequence[NetworkEvent]) -> None:
        super().on_network_events(events)
        for event in events:
            if isinstance(event, StreamOpened) and event.protocol == SYNC_PROTOCOL:
                self.theirs.add(event.stream)
            elif isinstance(event, FramesReceived) and event.stream in self.theirs:
                for data in event.frames:
                    self._answer(event.stream, data)

    def _answer(self, stream: int, data: bytes) -> None:
        frame = decode_sync_frame(data)
        if isinstance(frame, SyncHello) and self.greets:
            self.network.try_send(stream, [encode_sync_frame(SyncHello((1, 0), self.lies.roots if self.lies else []))])
        elif isinstance(frame, SyncRequest):
            self.asked.append(frame)
            if self.lies is not None and (said := self.lies(frame)) is not None:
                self.network.try_send(stream, [encode_sync_frame(said)])

    async def ask_on(self, victim: FederationService, *frames: KnownSyncFrame | bytes, greets: bool = True) -> int:
        """Opens a stream and says these."""
        stream = await self.network.open_stream(victim.peer_id, SYNC_PROTOCOL)
        hello = [SyncHello((1, 0))] if greets else []
        raw = [each if isinstance(each, bytes) else encode_sync_frame(each) for each in (*hello, *frames)]
        assert self.network.try_send(stream, raw)
        return stream

    def told_on(self, stream: int) -> list[object]:
        """What the victim said on a stream."""
        events = [event for event in self.heard(FramesReceived) if event.stream == stream]
        return [decode_sync_frame(data) for event in events for data in event.frames]
