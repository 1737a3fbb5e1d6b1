"""What a node's program notes outside its home, a line each, unbuffered: what is written is there after SIGKILL.

sent       B number type   about to be sent · Q number id   queued · S number   stored · H number   handled
plain      number attempt  what the plain handler did
events     an event of the node, as JSON
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SENT, PLAIN, EVENTS = "sent", "plain", "events"


class Notes:
    """An append-only file of lines."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def add(self, line: str) -> None:
        os.write(self._handle, f"{line}\n".encode())

    def event(self, event: Any) -> None:
        """One of the node's events."""
        self.add(json.dumps({"event": type(event).__name__, **asdict(event)}))


def lines(path: Path) -> list[str]:
    """The complete lines of a file that another process may be writing; none when it is not there."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


@dataclass
class Sent:
    """What a node knows of the messages that it sent, over all its lives."""

    begun: dict[int, str] = field(default_factory=dict)
    """Type by number: `send_direct` was called."""
    queued: dict[int, str] = field(default_factory=dict)
    """Id by number: it returned, so the message is on disk."""
    stored: set[int] = field(default_factory=set)
    handled: set[int] = field(default_factory=set)

    @classmethod
    def read(cls, folder: Path) -> Sent:
        sent = cls()
        for line in lines(folder / SENT):
            what, number, *rest = line.split()
            if what == "B":
                sent.begun[int(number)] = rest[0]
            elif what == "Q":
                sent.queued[int(number)] = rest[0]
            else:
                (sent.stored if what == "S" else sent.handled).add(int(number))
        return sent

    def queued_of(self, type_name: str) -> set[int]:
        """Numbers of queued messages of a type."""
        return {number for number in self.queued if self.begun[number] == type_name}


def plain_effects(folder: Path) -> list[tuple[int, int]]:
    """Number and attempt of each run of the plain handler, in order."""
    return [(int(number), int(attempt)) for number, attempt in map(str.split, lines(folder / PLAIN))]


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(folder / EVENTS)]


def seen_events(folder: Path) -> Counter[str]:
    """How often each kind of event was seen."""
    return Counter(event["event"] for event in events(folder))
