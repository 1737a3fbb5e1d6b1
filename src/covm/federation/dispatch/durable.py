"""A message of the inbox on its way to handlers: in memory once at most, whatever brought it there."""

from __future__ import annotations

import hashlib
from typing import Final, cast

import msgspec

from covm.federation.ports import DIRECT, Arrival, Publication
from covm.federation.wire.limits import MID_SIZE
from covm.federation.wire.message import MessageBody
from covm.federation.wire.received import Via

_RECORD: Final = "record"
_HANDLER: Final = "handler"
_VIA: Final = "via"
"""What is added to the body of a record that lies in quarantine: its id, which handler failed on it, how it came."""


class Durable(Arrival):
    """An arrival that stays on disk until it is dealt with. `attempts` and `done` are as in `covm_inbox`."""

    __slots__ = ("attempts", "done", "failures", "inbox_id", "is_ended", "only", "out_of_order", "record")

    def __init__(
        self,
        body: MessageBody,
        size_bytes: int,
        inbox_id: int,
        attempts: int = 0,
        done: tuple[str, ...] = (),
        *,
        out_of_order: bool = False,
        is_record: bool = False,
    ) -> None:
        said = body.extra or {} if is_record else {}
        super().__init__(body, cast("Via", said.get(_VIA, DIRECT)), size_bytes)
        self.inbox_id = inbox_id
        self.attempts = attempts
        self.done = done
        self.out_of_order = out_of_order
        self.record: str = said.get(_RECORD, "")
        """The id of what it came as, of a durable type."""
        self.only: str = said.get(_HANDLER, "")
        """The one handler that it is for; empty for all of the type."""
        self.failures = 0
        """Attempts that failed in this life of the node: what it takes to be quarantined."""
        self.is_ended = False
        """Whether what became of it has been said."""


class Fed(Arrival):
    """A record of a durable type, for one handler. `is_late`: it did not count when its turn came."""

    __slots__ = ("attempts", "is_late", "passed", "publication")

    def __init__(self, publication: Publication, *, attempts: int = 0, is_late: bool = False) -> None:
        super().__init__(publication.body, publication.via, publication.size_bytes)
        self.publication = publication
        self.is_late = is_late
        self.attempts = attempts
        """How often the handler was given it, or may have been, before now."""
        self.passed: list[int] = []
        """The positions of what is before it and does not count."""

    @property
    def message_id(self) -> str:
        """The record's id."""
        return self.publication.record


def quarantined_body(publication: Publication, handler: str) -> MessageBody:
    """A record as it lies in quarantine: with an id of its own, for several handlers may fail on one.

    What it says is not in it: that stays in the record alone, and so goes where it is erased, or not kept any longer.
    """
    mid = hashlib.sha256(f"{publication.record} {handler}".encode()).digest()[:MID_SIZE]
    extra = {_RECORD: publication.record, _HANDLER: handler, _VIA: publication.via}
    return msgspec.structs.replace(publication.body, mid=mid, extra=extra, payload=None)


def record_in(body: MessageBody) -> str:
    """The record's id, in the body of one that lies in quarantine."""
    record: str = (body.extra or {}).get(_RECORD, "")
    return record
