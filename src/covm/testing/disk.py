"""A machine's disk: an SQLite database in memory that outlives the node's crash, and that fails as it is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pysqlite3 import dbapi2

from covm.federation.errors import StoreUnavailable
from covm.federation.store.inline import InlineStore
from covm.federation.store.tables import NEW_INCARNATION

ROOM_LEFT_PAGES = 1
"""Pages that a full disk still has: an index may split once more, and then nothing goes."""

MOST_PAGES = 2**30

_WHY = ("on a simulated disk", "an I/O error")


@dataclass(frozen=True, slots=True)
class DiskFaults:
    """How a disk misbehaves.

    Each commit takes between `fastest_s` and `slowest_s`. `errors` is the share of commits that fail with an I/O
    error, `doubts` the share of those that fail in word alone: they are on the disk. `is_full` lets nothing grow.
    `torn` is the share of commits at which the machine crashes, half of them just before, half of them just after
    what was written has become durable.
    """

    fastest_s: float = 0.0
    slowest_s: float = 0.0
    errors: float = 0.0
    doubts: float = 0.0
    torn: float = 0.0
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a disk's content."""

    connection: dbapi2.Connection


class Disk:
    """What a node stores. `faults` hold from now on whenever they are set; `chance` decides.

    `crash` is what a torn commit calls; the machine sets it.
    """

    def __init__(self, chance: random.Random) -> None:
        self.crash: Callable[[], object] = self.sever
        self.commits = 0
        self.rollbacks = 0
        self._chance = chance
        self._faults = DiskFaults()
        self._connection = _memory()
        self._store: InlineStore | None = None

    @property
    def faults(self) -> DiskFaults:
        """How it misbehaves now."""
        return self._faults

    @faults.setter
    def faults(self, faults: DiskFaults) -> None:
        self._faults = faults
        self._limit()

    def mount(self) -> InlineStore:
        """A store on this disk for one life of a node; what an earlier one still does has no effect any more."""
        self.sever()
        self._store = InlineStore(
            connect=lambda: self._connection, is_durable=True, faults=_Commits(self, self._chance)
        )
        return self._store

    def sever(self) -> None:
        """The machine stops: what is not committed is lost."""
        if self._store is not None:
            self._store.sever()
            self._store = None

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Looks at what is stored, whoever runs on it."""
        return list(self._connection.execute(sql, parameters).fetchall())

    def has(self, table: str) -> bool:
        """Whether there is a table of this name."""
        return bool(self.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)))

    def snapshot(self) -> Snapshot:
        """A copy of everything that is committed now."""
        copy = Snapshot(_memory())
        self._connection.backup(copy.connection)
        return copy

    def roll_back(self, snapshot: Snapshot, *, restored: bool) -> None:
        """Puts an old copy back, while nothing runs: as a machine snapshot does, or, `restored`, as a restore does."""
        self.sever()
        self.query(f"PRAGMA max_page_count = {MOST_PAGES}")
        snapshot.connection.backup(self._connection)
        self.rollbacks += 1
        if restored:
            self._connection.execute(
                "INSERT OR REPLACE INTO covm_meta (key, value) VALUES (?, ?)", (NEW_INCARNATION, b"1")
            )
        self._limit()

    def _limit(self) -> None:
        [[pages]] = self.query("PRAGMA page_count")
        most = pages + ROOM_LEFT_PAGES if self._faults.is_full else MOST_PAGES
        self.query(f"PRAGMA max_page_count = {most}")


class _Commits:
    """What the disk's faults do to the commits of one life (`inline.Faults`)."""

    def __init__(self, disk: Disk, chance: random.Random) -> None:
        self._disk = disk
        self._chance = chance
        self._fails_after = False
        self._tears_after = False

    def latency_s(self) -> float:
        faults = self._disk.faults
        if faults.slowest_s <= 0.0:
            return 0.0
        return self._chance.uniform(faults.fastest_s, faults.slowest_s)

    def before_commit(self) -> None:
        faults = self._disk.faults
        self._tears_after = False
        self._fails_after = self._happens(faults.errors)
        if self._fails_after and not self._happens(faults.doubts):
            raise StoreUnavailable(*_WHY)
        if self._happens(faults.torn):
            self._tears_after = self._happens(0.5)
            if not self._tears_after:
                self._disk.crash()

    def after_commit(self) -> None:
        self._disk.commits += 1
        if self._tears_after:
            self._disk.crash()
        elif self._fails_after:
            raise StoreUnavailable(*_WHY)

    def _happens(self, share: float) -> bool:
        return share > 0.0 and self._chance.random() < share


def _memory() -> dbapi2.Connection:
    return dbapi2.connect(":memory:", isolation_level=None)
