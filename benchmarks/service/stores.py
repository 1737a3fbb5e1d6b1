"""Stores full of records, made once for all rows of a run and copied."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.service.node import NETWORK
from benchmarks.service.shape import Shape
from benchmarks.service.writers import End, Records, Writers
from covm.federation.clock import SystemClock
from covm.federation.config import FederationConfig
from covm.federation.counters import Counters
from covm.federation.membership.authority import EveryonesAuthority
from covm.federation.offload import ThreadOffload
from covm.federation.store import make_store
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.quotas import Usage
from covm.federation.wire.federation_id import open_federation

FEDERATION = open_federation(NETWORK).cid

AT_ONCE = 4096
"""Records that are signed and handed over at once."""

FOLDER = "BENCHMARK_STORES"
"""Where the run keeps them; where it is not set, a store is made for the row alone."""

ENDS = "ends.pickle"


async def copied(shape: Shape, home: Path) -> Writers:
    """Puts a store with what both sides of a shape have into a home; who can go on writing there."""
    folder = Path(os.environ.get(FOLDER) or home.parent)
    full = folder / f"records-{shape.records}-{shape.authors}"
    with _locked(folder):
        if not _is_made(full):
            await add(
                full, writers := Writers(FEDERATION, shape), dict(enumerate(map(shape.share, range(shape.authors))))
            )
            _keep_ends(full, writers)
    return Writers(FEDERATION, shape, _copy(full, home))


def _is_made(full: Path) -> bool:
    """Whether a store is there, whole; else there is a folder for it."""
    if (full / ENDS).is_file():
        return True
    shutil.rmtree(full, ignore_errors=True)
    full.mkdir(mode=0o700)
    return False


def _keep_ends(full: Path, writers: Writers) -> None:
    (full / ENDS).write_bytes(pickle.dumps(writers.ends))


def _copy(full: Path, home: Path) -> dict[int, End]:
    shutil.copytree(full, home, ignore=shutil.ignore_patterns(ENDS, "*.lock"))
    home.chmod(0o700)
    ends: dict[int, End] = pickle.loads((full / ENDS).read_bytes())
    return ends


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stores.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def add(home: Path, writers: Writers, more: dict[int, int]) -> int:
    """Has authors write more into the store of a home; bytes of those records."""
    size_bytes = 0
    async with _kept(home) as keeper:
        for records in _batches(writers, more.items()):
            size_bytes += records.size_bytes
            await _take(keeper, records)
    return size_bytes


@asynccontextmanager
async def _kept(home: Path) -> AsyncIterator[Keeper]:
    """A keeper without a node around it: the first node that opens the store makes it its own."""
    store, offload = make_store(home), ThreadOffload()
    await store.open()
    try:
        config = FederationConfig(membership="open")
        quota = Usage(config.record_quota, config.record_quota_bytes)
        keeper = Keeper(FEDERATION, store, EveryonesAuthority(FEDERATION), offload, SystemClock(), Counters(), quota)
        await keeper.load()
        yield keeper
    finally:
        await store.close()
        offload.close()


async def _take(keeper: Keeper, records: Records) -> None:
    taken = await keeper.take(records.envelopes, records.bodies)
    if taken.placed != len(records.envelopes):
        raise SystemExit(f"{len(records.envelopes) - taken.placed} records of {len(records.envelopes)} were not taken")


def _batches(writers: Writers, more: Iterable[tuple[int, int]]) -> Iterable[Records]:
    """Several authors in one batch, where they write little."""
    envelopes: list[bytes] = []
    bodies: list[bytes] = []
    for author, count in more:
        left = count
        while left:
            fresh = writers.write(author, min(left, AT_ONCE - len(envelopes)))
            left -= len(fresh.envelopes)
            envelopes += fresh.envelopes
            bodies += fresh.bodies
            if len(envelopes) == AT_ONCE:
                yield Records(envelopes, bodies)
                envelopes, bodies = [], []
    if envelopes:
        yield Records(envelopes, bodies)
