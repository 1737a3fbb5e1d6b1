"""What became of messages that waited for handlers: jobs of the store. See `inbox_jobs`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from covm.federation.dispatch import tables
from covm.federation.dispatch.feed_jobs import Advance, advance
from covm.federation.dispatch.inbox import Settled, runs_of
from covm.federation.dispatch.inbox_jobs import add_outcomes, delete_settled
from covm.federation.wire.frames import Outcome, OutcomeState
from covm.federation.wire.limits import MAX_TIME_MS

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction


class End(NamedTuple):
    """A message leaves the inbox: `state` is an `OutcomeState`."""

    state: str
    reason: str = ""
    rule: bytes | None = None


HANDLED = End(OutcomeState.HANDLED.value)


class Tried(NamedTuple):
    """A message stays: how often it was tried, and the handlers that are through with it."""

    attempts: int
    done: tuple[str, ...]


class Failed(NamedTuple):
    """A message goes into quarantine."""

    attempts: int
    done: tuple[str, ...]
    reason: str


@dataclass(slots=True)
class Settlements:
    """What one job writes, by the message's id in the inbox."""

    ended: dict[int, End] = field(default_factory=dict)
    tried: dict[int, Tried] = field(default_factory=dict)
    failed: dict[int, Failed] = field(default_factory=dict)
    shelved: list[int] = field(default_factory=list)
    """Nobody handles their types any more."""
    confirmed: dict[int, int] = field(default_factory=dict)
    """By line: outcomes up to this number are on the sender's disk."""
    advanced: dict[int, Advance] = field(default_factory=dict)
    """By feed."""

    def __bool__(self) -> bool:
        return bool(self.ended or self.tried or self.failed or self.shelved or self.confirmed or self.advanced)


Told = Mapping[int, Sequence[Outcome]]
"""New outcomes, by line."""


def settle(tx: Transaction, settlements: Settlements) -> Told:
    """Writes what became of messages; returns the outcomes that their senders are to hear of."""
    settled: dict[int, list[Settled]] = {}
    # First: who is through with a message decides whether its id may come again.
    for inbox_id, tried in settlements.tried.items():
        tx.execute(
            "UPDATE covm_inbox SET attempts = :attempts, done = :done WHERE id = :id",
            {"attempts": tried.attempts, "done": json.dumps(tried.done), "id": inbox_id},
        )
    if settlements.ended:
        _end(tx, settlements.ended, settled)
    for inbox_id, failed in settlements.failed.items():
        _quarantine(tx, inbox_id, failed, settled)
    for inbox_id in settlements.shelved:
        tx.execute("UPDATE covm_inbox SET state = :state WHERE id = :id", {"state": tables.UNHANDLED, "id": inbox_id})
    for line_id, upto in settlements.confirmed.items():
        tx.execute(
            "DELETE FROM covm_outcomes WHERE line_id = :line AND number <= :upto", {"line": line_id, "upto": upto}
        )
    for feed_id, by in settlements.advanced.items():
        advance(tx, feed_id, by)
    return {line_id: add_outcomes(tx, line_id, runs_of(each)) for line_id, each in settled.items()}


def _end(tx: Transaction, ended: Mapping[int, End], settled: dict[int, list[Settled]]) -> None:
    for inbox_id, line_id, author_id, seq, mid, done in delete_settled(tx, list(ended)):
        end = ended[inbox_id]
        settled.setdefault(line_id, []).append(Settled(seq, mid, *end))
        if end.state != OutcomeState.HANDLED.value and done == "[]":
            # It had no effect, so its sender may try again under the same id.
            tx.execute(
                "DELETE FROM covm_seen WHERE author_id = :author AND mid = :mid", {"author": author_id, "mid": mid}
            )


def _quarantine(tx: Transaction, inbox_id: int, failed: Failed, settled: dict[int, list[Settled]]) -> None:
    fields: dict[str, Any] = {"id": inbox_id, "state": tables.QUARANTINE, "attempts": failed.attempts}
    row = tx.execute(
        "UPDATE covm_inbox SET state = :state, attempts = :attempts, done = :done, reason = :reason WHERE id = :id "
        "RETURNING line_id, author_id, seq, mid",
        {**fields, "done": json.dumps(failed.done), "reason": failed.reason},
    ).first()
    if row is None:
        return
    line_id, author_id, seq, mid = row
    settled.setdefault(line_id, []).append(Settled(seq, bytes(mid), OutcomeState.FAILED.value, failed.reason, None))
    # As long as it lies here, its id is known here.
    tx.execute(
        "UPDATE covm_seen SET forget_at = :never WHERE author_id = :author AND mid = :mid",
        {"never": MAX_TIME_MS, "author": author_id, "mid": mid},
    )
