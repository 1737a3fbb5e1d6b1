"""Who knows everything: what was sent, what was promised about it, and what happened to it, on every machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from covm.federation import Message
from covm.federation.wire.incarnation import Incarnation

MOVES: dict[str, frozenset[str]] = {
    "queued": frozenset({"stored", "handled", "refused", "quarantined", "expired", "cancelled"}),
    # What is refused for a reason that may pass is queued again, and may end so without having been seen as that.
    "stored": frozenset({"handled", "refused", "quarantined", "queued", "expired", "cancelled"}),
    "quarantined": frozenset({"handled", "refused", "queued"}),
    # The sender alone ends a message's time; what the receiver says of it afterwards is right.
    "expired": frozenset({"stored", "handled", "refused", "quarantined", "queued"}),
    "cancelled": frozenset({"stored", "handled", "refused", "quarantined", "queued"}),
    "refused": frozenset({"queued"}),
    "handled": frozenset(),
}
"""From which state a receipt may be seen to move to which. Back to `queued` only by a retry or a new start."""

SETTLED = frozenset({"handled", "refused", "expired", "cancelled", "quarantined"})


class Fate(Enum):
    """What the sender's application knows of a sending."""

    ASKED = auto()
    """It asked and was not answered: the machine crashed, or the store failed."""
    TAKEN = auto()
    """It was told that the message is on its disk."""
    TURNED_AWAY = auto()
    """It was told that nothing was queued."""


@dataclass(slots=True)
class Call:
    """One call of a plain handler: which `attempt` it was told to be, and whether it `returned`."""

    attempt: int
    returned: bool = False


@dataclass(slots=True)
class Entry:
    """One message, from before it was sent: its `token`, `sender`, `recipient` and `type`, and when, `sent_s`.

    `fate` is what the sender's application knows, `message_id` what it was given, `state` and `reason` what a receipt
    said last, `calls` those of a plain handler.
    """

    token: str
    sender: str
    recipient: str
    type: str
    number: int
    """Its place among the messages of this sender, recipient and type, in the order in which they were sent."""
    sent_s: float
    fails: int = 0
    """How often its handler is to fail."""
    fate: Fate = Fate.ASKED
    message_id: str = ""
    taken_s: float | None = None
    """When the sender was told that it is on its disk."""
    state: str = ""
    """The last that a receipt said."""
    reason: str = ""
    is_retried: bool = False
    """Whether somebody had it tried again, so that it may come later than its place."""
    is_sent_again: bool = False
    """The sender's disk went back to a time when the message was under way."""
    lost_by_sender: bool = False
    """The sender's disk went back to a time when the message was not on it yet."""
    lost_by_recipient: bool = False
    """The recipient's disk went back after the message was sent: what it acknowledged may be gone."""
    calls: list[Call] = field(default_factory=list)

    @property
    def lane(self) -> tuple[str, str, str]:
        """What keeps its order."""
        return self.sender, self.recipient, self.type


class Ledger:
    """Every message of a story by its token, and the promises that were found broken."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.broken: list[str] = []
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._places: dict[tuple[object, ...], Entry] = {}
        self._lives: dict[str, dict[Incarnation, None]] = {}
        self._ended: dict[str, tuple[float, frozenset[Incarnation]]] = {}

    def ask(self, sender: str, recipient: str, type_name: str, now_s: float, fails: int = 0) -> Entry:
        """A message that is about to be sent; its token is part of its payload."""
        lane = (sender, recipient, type_name)
        number = self._numbers[lane] = self._numbers.get(lane, 0) + 1
        entry = Entry(f"{sender}>{recipient}/{type_name}/{number}", *lane, number, now_s, fails)
        self.entries[entry.token] = entry
        return entry

    def take(self, entry: Entry, message_id: str, now_s: float) -> None:
        """The message is on the sender's disk, as `send_direct` said."""
        entry.fate = Fate.TAKEN
        entry.taken_s = now_s
        entry.message_id = message_id

    def say(self, entry: Entry, state: str, reason: str, *, anew: bool = False) -> None:
        """A receipt says something; `anew` when it was made anew after a start of the node."""
        before = entry.state
        # Who went back in time makes what was stored be sent again, and it may end otherwise; so say its receipts.
        is_open = not before or entry.is_sent_again or entry.lost_by_recipient
        allowed = MOVES["queued"] | {"queued"} if is_open else MOVES[before]
        if state != before and not anew and state not in allowed:
            self.complain(entry, f"its receipt moved from {before} to {state}")
        if state in {"refused", "quarantined"} and not reason:
            self.complain(entry, f"it is {state}, and nobody says why")
        entry.state, entry.reason = state, reason

    def receive(self, entry: Entry, message: Message[Any]) -> None:
        """A handler got the message: its place was never another's, and no incarnation outlives a restore."""
        life, place = message.incarnation, (entry.sender, entry.recipient, message.incarnation, message.seq)
        before = self._places.setdefault(place, entry)
        # Where the receiver went back in time too, nobody was left who knew of the number.
        if before is not entry and not before.lost_by_recipient:
            self.complain(entry, f"its number {message.seq} was that of another message before")
        self._lives.setdefault(entry.sender, {})[life] = None
        restored_s, ended = self._ended.get(entry.sender, (0.0, frozenset[Incarnation]()))
        if life in ended and entry.sent_s > restored_s:
            self.complain(entry, "it was sent after a restore, under an incarnation from before")

    def roll_back(self, machine: str, to_s: float, now_s: float, *, restored: bool) -> None:
        """A machine's disk went back to what it was at `to_s`."""
        if restored:
            self._ended[machine] = (now_s, frozenset(self._lives.get(machine, {})))
        for entry in self.entries.values():
            if entry.sender == machine:
                entry.is_sent_again = True
            if entry.sender == machine and (entry.taken_s is None or entry.taken_s >= to_s):
                entry.lost_by_sender = True
            if entry.recipient == machine and entry.sent_s <= now_s:
                entry.lost_by_recipient = True

    def complain(self, entry: Entry | None, what: str) -> None:
        """A promise is broken."""
        self.broken.append(f"{entry.token}: {what}" if entry is not None else what)
