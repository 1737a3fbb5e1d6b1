"""A message of the inbox on its way to handlers: in memory once at most, whatever brought it there."""

from __future__ import annotations

from covm.federation.ports import DIRECT, Arrival
from covm.federation.wire.message import MessageBody


class Durable(Arrival):
    """An arrival that stays on disk until it is dealt with. `attempts` and `done` are as in `covm_inbox`."""

    __slots__ = ("attempts", "done", "failures", "inbox_id", "is_ended", "out_of_order")

    def __init__(
        self,
        body: MessageBody,
        size_bytes: int,
        inbox_id: int,
        attempts: int = 0,
        done: tuple[str, ...] = (),
        *,
        out_of_order: bool = False,
    ) -> None:
        super().__init__(body, DIRECT, size_bytes)
        self.inbox_id = inbox_id
        self.attempts = attempts
        self.done = done
        self.out_of_order = out_of_order
        self.failures = 0
        """Attempts that failed in this life of the node: what it takes to be quarantined."""
        self.is_ended = False
        """Whether what became of it has been said."""
