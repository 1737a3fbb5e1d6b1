"""What a receiver's words mean for what we sent it: its HELLO, its outcomes, its claim that we were rolled back.

Rules: plain values in, plain values out. Whoever speaks may lie, so a word counts only as far as it agrees with what
is on disk here, or with an envelope that we signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from covm.federation.dispatch import receipts, tables
from covm.federation.violations import Violation
from covm.federation.wire.frames import Hello, Outcome, OutcomeState, Position
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody
from covm.federation.wire.skip import is_skip, skip_mid, skipped_upto

GIVEN_BACK: Final = 10_000
"""Messages to one peer that are tried again because it refused them for a reason that may pass; more of them are
refused for good, so that a peer that refuses everything cannot fill this node's disk."""

BACKWARDS: Final = 3
"""Times that a receiver may fall behind its own acknowledgements: restored twice is bad luck, more is a game."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is on disk here at a place that the receiver names."""

    mid: bytes
    state: int
    end: int
    """The line's bytes up to and with the place."""
    has_envelope: bool

    @property
    def may_be_skipped(self) -> bool:
        """Whether a skip travels, or has travelled, in its stead."""
        return self.state in tables.SKIPPED or not self.has_envelope


class Standing(Enum):
    """Where the receiver stands, by its HELLO."""

    AGREED = "agreed"
    """It has what we think, or more, and all of it is ours."""
    BEHIND = "behind"
    """It has less than it acknowledged: it was rolled back."""
    AHEAD = "ahead"
    """It claims more of us than we know of: we were rolled back, or it lies."""


def judge_hello(hello: Hello, own: Incarnation, to: str, next_seq: int, acked_seq: int, held: Held | None) -> Standing:
    """Where a receiver stands. `held`: what is here at `hello.stored`, None when nothing is held there any more."""
    stored = hello.stored
    if hello.newer is not None and hello.newer > own:
        return Standing.AHEAD
    if stored is None or stored.seq == 0:
        return Standing.BEHIND if acked_seq else Standing.AGREED
    if stored.seq >= next_seq or (held is not None and not is_ours_at(stored, held, own, to)):
        return Standing.AHEAD
    return Standing.BEHIND if stored.seq < acked_seq else Standing.AGREED


def is_ours_at(stored: Position, held: Held, own: Incarnation, to: str) -> bool:
    """Whether this may be the id of what we sent at that place: the message's, or that of a skip in its stead."""
    return stored.mid == held.mid or (held.may_be_skipped and stored.mid == skip_mid(own, to, stored.seq))


def proven_life(
    body: MessageBody, own: Incarnation, peer_id: str, to: str, next_seq: int, held: Held | None
) -> Incarnation | None:
    """The incarnation of ours that an envelope *that we signed* proves to have gone on without our memory, if it does.

    `body` is of an envelope whose signature is ours; `held` is what we hold at the last place that it takes. None: it
    proves nothing that we do not know.
    """
    if body.author != peer_id or body.to != to or body.incarnation < own:
        return None
    if body.incarnation > own:
        return body.incarnation
    last = skipped_upto(body) if is_skip(body) else body.seq
    if last >= next_seq:
        return own
    if held is None or body.mid == held.mid:
        return None
    if is_skip(body) and body.mid == skip_mid(own, to, last):
        # We once skipped what we would send now. What has an outcome was told by a receiver that may lie.
        return own if held.state == tables.QUEUED and not held.may_be_skipped else None
    return own


class Settlement(NamedTuple):
    """An outcome that can be, as it goes to disk and to receipts. `is_final`: it is not tried again by itself."""

    number: int
    first: int
    last: int
    mid: bytes
    state: int
    receipt_state: str
    reason: str
    is_final: bool
    settled_at: int
    """Milliseconds, by our clock."""


_STATES: Final = {
    OutcomeState.HANDLED.value: (tables.HANDLED, receipts.HANDLED),
    OutcomeState.FAILED.value: (tables.QUARANTINED, receipts.QUARANTINED),
    OutcomeState.REFUSED.value: (tables.REFUSED, receipts.REFUSED),
}


def judge_outcome(
    outcome: Outcome, acked_seq: int, now_ms: int, *, rule_is_ours: bool, given_back: int
) -> Settlement | None:
    """What an outcome says; None for a state that only a newer node knows. Raises `Violation`.

    A refusal that follows from a rule is final if the rule is ours too: otherwise one of the two knows less, and the
    message is tried again when that may have changed.
    """
    if not 1 <= outcome.first <= outcome.last or outcome.last > acked_seq:
        raise Violation("outcome_of_unsent")
    known = _STATES.get(outcome.state)
    if known is None:
        return None
    state, receipt_state = known
    is_final = state != tables.REFUSED or outcome.rule is None or rule_is_ours or given_back >= GIVEN_BACK
    first, last, reason = outcome.first, outcome.last, outcome.reason
    if not is_final:
        state, receipt_state = tables.QUEUED, receipts.QUEUED
        reason = reason or "refused there for now"
    return Settlement(outcome.number, first, last, outcome.mid, state, receipt_state, reason, is_final, now_ms)
