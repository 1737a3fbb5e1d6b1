"""Every transfer that this node knows of, and what its listeners hear about them."""

from __future__ import annotations

from collections import Counter
from typing import Final

from covm.federation.blobs.transfer import RUNNING, Direction, FileTransfer
from covm.federation.clock import Clock
from covm.federation.events import EventHub, FileFailed, FileProgressed, FileReceived

MAX_ENDED: Final = 500
"""Ended transfers that are remembered, the newest: a screen or two for whoever looks back."""

PROGRESS_PERIOD_S: Final = 0.25
"""Progress of one transfer is told at most four times a second: as often as a bar is worth drawing."""


class Ledger:
    """Transfers by direction, peer and id."""

    def __init__(self, hub: EventHub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._transfers: dict[tuple[Direction, str, str], FileTransfer] = {}
        self._told_s: dict[tuple[Direction, str, str], float] = {}
        self._running: Counter[tuple[Direction, str]] = Counter()

    def all(self) -> list[FileTransfer]:
        """Every transfer, the oldest first."""
        return sorted(self._transfers.values(), key=lambda transfer: (transfer.began_ms, transfer.id))

    def get(self, direction: Direction, peer: str, transfer_id: str) -> FileTransfer | None:
        return self._transfers.get((direction, peer, transfer_id))

    def running(self, direction: Direction, peer: str = "") -> int:
        """Transfers under way, or waiting for their turn, with this peer, or with all."""
        if peer:
            return self._running[direction, peer]
        return sum(count for (way, _), count in self._running.items() if way == direction)

    def add(self, transfer: FileTransfer) -> FileTransfer:
        self._transfers[_key(transfer)] = transfer
        if transfer.state == RUNNING:
            self._running[transfer.direction, transfer.peer] += 1
        self._forget()
        return transfer

    def remove(self, transfer: FileTransfer) -> None:
        """It never began."""
        if self._transfers.pop(_key(transfer), None) is not None:
            self._ended(transfer)

    def advance(self, transfer: FileTransfer, done_bytes: int) -> None:
        """Tells of progress, once in a while."""
        if done_bytes <= transfer.progress().done_bytes or transfer.state != RUNNING:
            return
        transfer.advance(done_bytes)
        now_s, key = self._clock.monotonic_s(), _key(transfer)
        if now_s - self._told_s.get(key, -PROGRESS_PERIOD_S) >= PROGRESS_PERIOD_S:
            self._told_s[key] = now_s
            self._tell(transfer)

    def finish(self, transfer: FileTransfer, path: str = "") -> None:
        if transfer.state == RUNNING:
            transfer.finish(path)
            self._ended(transfer)
            self._tell(transfer)
            if transfer.direction == "in":
                self._hub.emit(FileReceived(transfer.id, transfer.peer, transfer.name, path, transfer.size_bytes))

    def fail(self, transfer: FileTransfer, reason: str) -> None:
        if transfer.state == RUNNING:
            transfer.fail(reason)
            self._ended(transfer)
            self._hub.emit(FileFailed(transfer.id, transfer.peer, transfer.name, transfer.direction, reason))

    def close(self) -> None:
        """The node stops: whoever waits for a transfer learns that."""
        for transfer in self._transfers.values():
            transfer.leave()

    def _ended(self, transfer: FileTransfer) -> None:
        self._told_s.pop(_key(transfer), None)
        place = (transfer.direction, transfer.peer)
        self._running[place] -= 1
        if not self._running[place]:
            del self._running[place]

    def _tell(self, transfer: FileTransfer) -> None:
        progress = transfer.progress()
        self._hub.emit(
            FileProgressed(
                transfer.id,
                transfer.peer,
                transfer.name,
                transfer.direction,
                progress.done_bytes,
                progress.size_bytes,
            )
        )

    def _forget(self) -> None:
        ended = len(self._transfers) - sum(self._running.values())
        if ended <= MAX_ENDED:
            return
        for key, transfer in self._transfers.items():
            if transfer.state != RUNNING:
                del self._transfers[key]
                return


def _key(transfer: FileTransfer) -> tuple[Direction, str, str]:
    return transfer.direction, transfer.peer, transfer.id
