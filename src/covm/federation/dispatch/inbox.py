"""What one peer has sent us directly: in order, once. Rules: no I/O, no clock.

One sequence per incarnation of the sender. A number up to the stored one is a re-send and changes nothing; one beyond
the next is a gap, which an honest sender never leaves. A skip takes places without a message. Message ids that were
taken before are found in the store (`inbox_jobs`): whatever place they come under, they have no second effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_REASON, MAX_TIME_TO_LIVE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody
from covm.federation.wire.skip import is_skip, skipped_upto

INBOX_MAX_MESSAGES: Final = 100_000
"""Messages of one sender that wait for handlers here: ten seconds of the fastest. Then its stream is not read."""

INBOX_MAX_BYTES: Final = 256 * 1024 * 1024
"""Their bytes: what a small machine's disk can spare for one sender whose handler is stuck."""

INBOX_SHARES: Final = 4
"""All senders together may fill so many times what one may."""

UNHANDLED_MAX_MESSAGES: Final = 10_000
"""Messages of one sender kept for types that nobody handles: a program that starts late finds them, a stranger fills no
disk, and nobody takes another's room."""

UNHANDLED_MAX_BYTES: Final = 64 * 1024 * 1024
"""Their bytes: 64 of the largest."""

QUARANTINE_MAX_MESSAGES: Final = 10_000
"""Messages of one sender kept for an operator to look at; beyond it what fails is refused, so its sender still knows,
and nobody takes another's place."""

QUARANTINE_MAX_BYTES: Final = 256 * 1024 * 1024
"""Their bytes: as many as may wait for handlers, so that a whole inbox finds room here when its handler is broken."""

SEEN_AFTER_EXPIRY_MS: Final = int(timedelta(days=1).total_seconds() * 1000)
"""Message ids are remembered a day past expiry: clocks of sender and receiver may differ by hours."""

SEEN_AT_MOST_MS: Final = int((MAX_TIME_TO_LIVE + timedelta(days=1)).total_seconds() * 1000)
"""The longest that an id is remembered: a day more than any message may live."""


NO_HANDLER: Final = "nobody there handles this type"
"""Why a message is refused that nobody came to handle."""


class Offered(NamedTuple):
    """A message as it came: its body read, its signed bytes, and the envelope around them."""

    body: MessageBody
    data: bytes
    envelope: bytes


@dataclass(slots=True)
class Judgement:
    """What becomes of a batch. `stored_seq` and `stored_mid` are where the line stands once it is committed."""

    stored_seq: int
    stored_mid: bytes | None
    new: list[Offered] = field(default_factory=list)
    last_envelope: bytes | None = None
    resent: int = 0
    violation: str = ""
    """Why reading ends behind what is taken; empty when all of it could be."""

    @property
    def moves(self) -> bool:
        """Whether there is something to commit."""
        return self.last_envelope is not None


def judge(
    incarnation: Incarnation | None, stored_seq: int, stored_mid: bytes | None, offered: Iterable[Offered]
) -> Judgement:
    """Takes messages in order up to the first that cannot be; what came before it is taken all the same."""
    judged = Judgement(stored_seq, stored_mid)
    for each in offered:
        body = each.body
        if body.incarnation != incarnation:
            judged.violation = "wrong_incarnation"
            break
        seq = upto = body.seq
        if is_skip(body):
            try:
                upto = skipped_upto(body)
            except Malformed:
                judged.violation = "malformed_skip"
                break
        if upto <= judged.stored_seq:
            judged.resent += 1
            continue
        if seq > judged.stored_seq + 1:
            judged.violation = "sequence_gap"
            break
        if not is_skip(body):
            judged.new.append(each)
        judged.stored_seq, judged.stored_mid, judged.last_envelope = upto, body.mid, each.envelope
    return judged


def forget_at_ms(expires_at_ms: int | None, now_ms: int) -> int:
    """Until when a message's id is remembered, by this node's clock."""
    longest = now_ms + SEEN_AT_MOST_MS
    if expires_at_ms is None:
        return longest
    return min(max(expires_at_ms, now_ms) + SEEN_AFTER_EXPIRY_MS, longest)


class Settled(NamedTuple):
    """What became of one stored message, at its place."""

    seq: int
    mid: bytes
    state: str
    reason: str
    rule: bytes | None


class Run(NamedTuple):
    """Neighbouring places that came to the same."""

    first: int
    last: int
    mid: bytes
    state: str
    reason: str
    rule: bytes | None


def runs_of(settled: Iterable[Settled]) -> list[Run]:
    """The fewest runs that say it, by place; a place in between that was skipped or is still open ends a run."""
    runs: list[Run] = []
    for seq, mid, state, reason, rule in sorted(settled, key=lambda each: each.seq):
        if runs:
            before = runs[-1]
            if before.last + 1 == seq and (before.state, before.reason, before.rule) == (state, reason, rule):
                runs[-1] = Run(before.first, seq, mid, state, reason, rule)
                continue
        runs.append(Run(seq, seq, mid, state, reason, rule))
    return runs


def short_reason(reason: str) -> str:
    """At most `MAX_REASON` bytes without NUL, which PostgreSQL does not store: it fits its column and its frame."""
    return reason.replace("\0", " ").encode(errors="replace")[:MAX_REASON].decode(errors="ignore")


def retry_bound_s(failures: int, base_s: float, most_s: float) -> float:
    """The longest pause after so many failures; the pause itself is drawn from nothing to it (full jitter)."""
    return float(min(base_s * 2 ** min(max(failures, 1) - 1, 32), most_s))


class Holdings:
    """Messages and bytes that are kept for senders: each has a share, and there is a bound in all."""

    def __init__(self, max_messages: int = INBOX_MAX_MESSAGES, max_bytes: int = INBOX_MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self.messages = 0
        self.size_bytes = 0

    def add(self, sender: str, size_bytes: int, messages: int = 1) -> None:
        self._messages[sender] += messages
        self._bytes[sender] += size_bytes
        self.messages += messages
        self.size_bytes += size_bytes

    def remove(self, sender: str, size_bytes: int, messages: int = 1) -> None:
        self.add(sender, -size_bytes, -messages)
        if self._messages[sender] <= 0:
            del self._messages[sender], self._bytes[sender]

    def of(self, sender: str) -> tuple[int, int]:
        """Messages and bytes of one sender."""
        return self._messages[sender], self._bytes[sender]

    def takes(self, sender: str, messages: int, size_bytes: int) -> bool:
        """Whether there is room for so much more."""
        own_messages, own_bytes = self.of(sender)
        return (
            own_messages + messages <= self._max_messages
            and own_bytes + size_bytes <= self._max_bytes
            and self.messages + messages <= self._max_messages * INBOX_SHARES
            and self.size_bytes + size_bytes <= self._max_bytes * INBOX_SHARES
        )

    def is_full(self, sender: str) -> bool:
        return (
            self._messages[sender] >= self._max_messages
            or self._bytes[sender] >= self._max_bytes
            or self.messages >= self._max_messages * INBOX_SHARES
            or self.size_bytes >= self._max_bytes * INBOX_SHARES
        )


def id_runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs without gaps: one statement deletes a run."""
    runs: list[tuple[int, int]] = []
    for each in ids:
        if runs and runs[-1][1] + 1 == each:
            runs[-1] = (runs[-1][0], each)
        else:
            runs.append((each, each))
    return runs
