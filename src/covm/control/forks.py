"""The control API about forks, version 1; see `covm.control.schema`. Paths are absolute, at the node.

| request | body | answer |
|---|---|---|
| GET /v1/forks?limit=N | | `Forks` |
| GET /v1/forks/{id} | | `OneFork` |
| POST /v1/forks/export | `ExportFork` | `OneFork` |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from covm.control.schema import Versioned
from covm.control.transport import Transport


class ForkedRecord(Struct, kw_only=True, frozen=True):
    """One of the two."""

    id: str
    key: str
    op: str
    written_at: int
    """By the author's clock, in milliseconds since 1970-01-01 UTC."""
    value: Any


class Fork(Struct, kw_only=True, frozen=True):
    """Two records that one node signed as the same one of its log."""

    id: str
    """That of the one which came later."""
    type: str
    author: str
    """The peer id of the node."""
    name: str
    """What that node is called; empty when it is not known."""
    member: str
    """The member whose node that is now; empty for none."""
    seq: int
    """The number that both have."""
    records: list[ForkedRecord]
    """The one that was here first, and the other."""


class Forks(Versioned, kw_only=True, frozen=True):
    """What the node holds of them."""

    forks: list[Fork]


class OneFork(Versioned, kw_only=True, frozen=True):
    """One of them."""

    fork: Fork
    path: str = ""
    """Where its proof is, if it was written."""


class ExportFork(Versioned, kw_only=True, frozen=True):
    """Write the proof of one to a new file."""

    id: str
    path: str


class ForkCommands:
    """The part of `ControlClient` that is about forks."""

    _node: Transport

    def forks(self, limit: int) -> list[Fork]:
        """Who wrote two records at one place of a log."""
        return self._node.ask(Forks, "GET", f"/v1/forks?limit={limit}").forks

    def fork(self, fork_id: str) -> Fork:
        """One of them. Raises `NotFound`, and `Invalid` when the beginning of an id means several."""
        return self._node.ask(OneFork, "GET", f"/v1/forks/{quote(fork_id, safe='')}").fork

    def export_fork(self, fork_id: str, path: Path) -> OneFork:
        """Writes its proof to a new file. Raises as `fork`."""
        asked = ExportFork(id=fork_id, path=str(path))
        return self._node.ask(OneFork, "POST", "/v1/forks/export", asked)
