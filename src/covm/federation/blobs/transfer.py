"""`FileTransfer`: follows one file to or from a peer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from covm.federation.errors import DeliveryTimeout, NotStarted, TransferFailed
from covm.federation.ports import Following

RUNNING = "running"
DONE = "done"
FAILED = "failed"

Direction = Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is. Bytes sent are those that the receiver has asked for; bytes received are verified."""

    done_bytes: int
    size_bytes: int

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.done_bytes / self.size_bytes if self.size_bytes else 1.0


class FileTransfer:
    """One file under way, or that was. `state` is `running`, `done` or `failed`; `reason` says why it failed.

    A transfer outlives restarts of either side, and waits for the other one as long as it takes.
    """

    __slots__ = (
        "_done_bytes",
        "_is_left",
        "_reason",
        "_state",
        "_waiters",
        "began_ms",
        "direction",
        "id",
        "name",
        "path",
        "peer",
        "receipt",
        "size_bytes",
    )

    def __init__(
        self, transfer_id: str, peer: str, name: str, size_bytes: int, direction: Direction, began_ms: int
    ) -> None:
        self.id = transfer_id
        """The id of the message that offered the file, in hexadecimal."""
        self.peer = peer
        self.name = name
        self.size_bytes = size_bytes
        self.direction = direction
        """`in` from the peer, `out` to it."""
        self.began_ms = began_ms
        """When it was offered, in milliseconds since 1970-01-01 UTC."""
        self.path = ""
        """Where the file lies here: its source, or what was received, once it is done."""
        self.receipt: Following | None = None
        """Of the offer, at the sender: *stored* says that it is on the receiver's disk, *handled* that the file is."""
        self._state = RUNNING
        self._reason = ""
        self._done_bytes = 0
        self._is_left = False
        self._waiters: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<FileTransfer {self.id} of {self.name!r} {self.direction} {self.peer}: {self._state}>"

    @property
    def state(self) -> str:
        """`running`, `done` or `failed`."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it failed; otherwise empty."""
        return self._reason

    @property
    def done_bytes(self) -> int:
        """Bytes sent or received so far, as in `progress`."""
        return self._done_bytes

    def progress(self) -> Progress:
        """How far it is now."""
        return Progress(self._done_bytes, self.size_bytes)

    async def done(self, timeout: timedelta | None = None) -> None:
        """Returns once the file is whole, verified and on the receiver's disk.

        Without `timeout` it waits as long as it takes. Raises `TransferFailed`, `DeliveryTimeout` (it goes on all the
        same), or `NotStarted` when this node stopped meanwhile: it goes on after its next start.
        """
        timeout_s = None if timeout is None else timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout_s):
                while self._state == RUNNING and not self._is_left:
                    await self._changed()
        except TimeoutError:
            raise DeliveryTimeout(self.id, DONE, self._state, timeout_s or 0.0) from None
        if self._state == FAILED:
            raise TransferFailed(self.id, self.peer, self.name, self._reason)
        if self._state != DONE:
            raise NotStarted

    def advance(self, done_bytes: int) -> None:
        """So much of it is there. (The protocol's side)"""
        self._done_bytes = min(done_bytes, self.size_bytes)

    def finish(self, path: str = "") -> None:
        """It is whole. (The protocol's side)"""
        self._state, self._done_bytes = DONE, self.size_bytes
        self.path = path or self.path
        self._wake()

    def fail(self, reason: str) -> None:
        """It will not arrive. (The protocol's side)"""
        if self._state == RUNNING:
            self._state, self._reason = FAILED, reason
            self._wake()

    def leave(self) -> None:
        """This node stops. (The protocol's side)"""
        self._is_left = True
        self._wake()

    async def _changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
