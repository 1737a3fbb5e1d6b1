"""What a node is told and sent by sync, taken down as it comes."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from covm.federation.sync.manager import SyncManager
from covm.federation.wire.sync_frames import SyncHello, SyncNews, SyncResponse, decode_sync_frame


class Watcher(Protocol):
    """Who wants to know. (SharedLedger)"""

    sent: Counter[str]
    """Records in the answers that a machine heard."""

    def named(self, machine: str, types: list[str]) -> None:
        """A machine was told that there is something of these types."""


def watch(sync: SyncManager, machine: str, watcher: Watcher) -> None:
    """Takes down what one node hears, in one life."""
    honest = sync.streams.on_frames

    def watched(event: Any) -> None:
        for data in event.frames:
            frame = decode_sync_frame(data)
            if isinstance(frame, SyncResponse):
                watcher.sent[machine] += len(frame.records)
            elif isinstance(frame, SyncHello | SyncNews):
                watcher.named(machine, [name for name, _ in frame.roots])
        honest(event)

    sync.streams.on_frames = watched  # type: ignore[method-assign]
