"""Receipts: what became of a message that was sent to one peer.

queued ──> stored ──> handled
   │          ├─────> refused       nobody there handles it, or it does not fit the type there
   │          └─────> quarantined   its handler failed; its operator may let it try again
   ├────────> expired               a receipt follows what the receiver says, so a late word can still move it on
   └────────> cancelled             by the user; without a store also because this node stopped

A message that the receiver refused for a reason that may pass is `queued` again, with the reason.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from covm.federation.errors import (
    DeliveryTimeout,
    FederationError,
    MessageCancelled,
    MessageExpired,
    MessageQuarantined,
    MessageRefused,
    NotStarted,
)

QUEUED = "queued"
STORED = "stored"
HANDLED = "handled"
REFUSED = "refused"
EXPIRED = "expired"
CANCELLED = "cancelled"
QUARANTINED = "quarantined"

_SETTLED = frozenset({HANDLED, REFUSED, EXPIRED, CANCELLED, QUARANTINED})
_NOT_STORED = frozenset({QUEUED, EXPIRED, CANCELLED})
_FINAL = frozenset({HANDLED, REFUSED})


class Receipt:
    """Follows one message. `state` says where it is; `stored` and `handled` wait for it."""

    __slots__ = (
        "__weakref__",
        "_default_timeout_s",
        "_is_given_up",
        "_is_left",
        "_mid",
        "_reason",
        "_state",
        "_stored",
        "_waiters",
        "peer",
        "type",
    )

    def __init__(self, mid: bytes, peer: str, type_name: str, default_timeout_s: float) -> None:
        self._mid = mid
        self.peer = peer
        self.type = type_name
        self._default_timeout_s = default_timeout_s
        self._state = QUEUED
        self._reason = ""
        self._stored = False
        self._is_given_up = False
        self._is_left = False
        self._waiters: list[tuple[str, asyncio.Future[bool]]] | None = None

    def __repr__(self) -> str:
        return f"<Receipt {self.id} of {self.type} for {self.peer}: {self._state}>"

    @property
    def id(self) -> str:
        """The message's id, in hexadecimal."""
        return self._mid.hex()

    @property
    def mid(self) -> bytes:
        """The message's id, as it travels."""
        return self._mid

    @property
    def state(self) -> str:
        """`queued`, `stored`, `handled`, `refused`, `expired`, `cancelled` or `quarantined`."""
        return self._state

    @property
    def reason(self) -> str:
        """Why it is refused, quarantined or cancelled, or queued again; otherwise empty."""
        return self._reason

    async def stored(self, timeout: timedelta | None = None) -> None:
        """Returns once the receiver has the message on its disk.

        `timeout` defaults to `message_timeout`. Raises `DeliveryTimeout` (the message stays under way),
        `MessageRefused`, `MessageExpired`, `MessageCancelled`, or `NotStarted` when this node stopped meanwhile: the
        message goes on after its next start.
        """
        if not self._stored:
            await self._settle(STORED, timeout)
            if not self._stored:
                raise self._failure()

    async def handled(self, timeout: timedelta | None = None) -> None:
        """Returns once every handler there has dealt with the message.

        Raises what `stored` raises, and `MessageQuarantined` when a handler there failed on it.
        """
        await self._settle(HANDLED, timeout)
        if self._state != HANDLED:
            raise self._failure()

    def advance(self, state: str, reason: str = "") -> None:
        """Takes the message to another state and wakes who waits. (The dispatcher's side)

        What is handled or refused stays so; a word of the receiver moves on what expired, was cancelled or
        quarantined.
        """
        if self._state == state or self._state in _FINAL or (self._state == QUARANTINED and state == STORED):
            return
        self._state = state
        self._reason = reason
        # A late outcome of an expired message tells that the receiver had it.
        self._stored = self._stored or state not in _NOT_STORED
        self._wake()

    def end(self, state: str, reason: str = "") -> None:
        """This node gives the message up; what the receiver has said of an earlier sending stays. (As `advance`)"""
        self._is_given_up = True
        if self._state != STORED:
            self.advance(state, reason)

    def advance_by_former(self, state: str, reason: str = "") -> None:
        """As `advance`, by what the receiver says of an earlier sending: a later one may still be taken there."""
        if state != REFUSED or self._is_given_up:
            self.advance(state, reason)

    def renew(self) -> None:
        """The message is sent again, from the beginning. (The dispatcher's side)"""
        self._is_given_up = False
        self._state = QUEUED
        self._reason = ""
        self._wake()

    def leave(self) -> None:
        """This node stops: nobody learns any more what becomes of the message. (The dispatcher's side)"""
        self._is_left = True
        self._wake()

    def _is_there(self, awaited: str) -> bool:
        return self._is_left or self._state in _SETTLED or (awaited == STORED and self._stored)

    def _wake(self) -> None:
        if self._waiters is None:
            return
        waiters, self._waiters = self._waiters, None
        for awaited, waiter in waiters:
            if not self._is_there(awaited):
                self._wait(awaited, waiter)
            elif not waiter.done():
                waiter.set_result(True)

    async def _settle(self, awaited: str, timeout: timedelta | None) -> None:
        if self._is_there(awaited):
            return
        timeout_s = self._default_timeout_s if timeout is None else timeout.total_seconds()
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + timeout_s
        while not self._is_there(awaited):
            waiter: asyncio.Future[bool] = loop.create_future()
            self._wait(awaited, waiter)
            # Thousands of receipts are awaited in a second, and `asyncio.timeout` costs more than the rest of it.
            timer = loop.call_at(ends_s, _time_out, waiter)
            try:
                in_time = await waiter
            finally:
                timer.cancel()
            if not in_time:
                raise DeliveryTimeout(self.id, awaited, self._state, timeout_s)

    def _wait(self, awaited: str, waiter: asyncio.Future[bool]) -> None:
        if self._waiters is None:
            self._waiters = []
        if not waiter.done():
            self._waiters.append((awaited, waiter))

    def _failure(self) -> FederationError:
        if self._state == REFUSED:
            return MessageRefused(self.id, self.peer, self._reason)
        if self._state == QUARANTINED:
            return MessageQuarantined(self.id, self.peer, self._reason)
        if self._state == CANCELLED:
            return MessageCancelled(self.id, self.peer, self._reason)
        if self._state == EXPIRED:
            return MessageExpired(self.id, self.peer)
        return NotStarted()


def _time_out(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
