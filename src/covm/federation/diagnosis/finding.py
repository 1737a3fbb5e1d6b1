"""A finding: the verdict on one area, its cause, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Area(StrEnum):
    """What is looked at, in the order in which it is told: what stands further down rests on what is above."""

    NODE = "node"
    CONFIGURATION = "configuration"
    PERMISSIONS = "permissions"
    SOCKET_PATH = "socket path"
    DISK = "disk"
    STORE = "store"
    CLOCK = "clock"
    DNS = "DNS"
    LISTENING = "listening"
    REACHABILITY = "reachability"
    RELAY = "relay"
    PEERS = "peers"


class Verdict(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and there is something that the operator should know."""
    PROBLEM = "problem"
    """It does not work, or soon will not."""
    NOT_CHECKED = "not checked"
    """Nobody can say now; `why` tells what is missing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in one area. Texts may hold words of peers: not safe to print as they are."""

    area: Area
    """What was looked at."""
    verdict: Verdict
    """How it is."""
    what: str
    """What was seen, in a clause."""
    why: str = ""
    """The cause, as far as it is known."""
    next_step: str = ""
    """A command or a thing to do; empty where nothing is to be done."""


def shortened(things: list[str], most: int) -> str:
    """A list for a sentence: the first ones, and how many more."""
    more = f" and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more
