"""What is well with a node and what is not: the control API's answer, and that of `covm doctor`.

| request | body | answer |
|---|---|---|
| GET /v1/diagnosis | | `Diagnosis` |

Texts may hold words of peers: to be shown escaped.
"""

from __future__ import annotations

from msgspec import Struct

from covm.control.schema import Versioned


class Finding(Struct, kw_only=True, frozen=True):
    """What was found in one area."""

    area: str
    """node, configuration, permissions, socket path, disk, store, clock, DNS, listening, reachability, relay or
    peers."""
    verdict: str
    """`ok`, `warning`, `problem` or `not checked`."""
    what: str
    why: str
    """The cause, or what is missing to check it; empty where there is nothing to say."""
    next_step: str
    """A command or a thing to do; empty where nothing is to be done."""


class Diagnosis(Versioned, kw_only=True, frozen=True):
    """What a running node can say of itself."""

    findings: list[Finding]
    pid: int
    uptime_ms: int
    bootstrap_peers: list[str]
    """As it is configured, so that whoever asks can look their names up."""
    announce_addresses: list[str]


class Checkup(Versioned, kw_only=True, frozen=True):
    """Everything that could be looked at, from the node and from its home and machine."""

    home: str
    running: bool
    """Whether a node on the home has answered."""
    verdict: str
    """`problem` if there is any, else `warning` if there is any, else `ok`."""
    findings: list[Finding]
