"""Places for pairs of nodes; every process is ended."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crashes.nodes import Pair
from tests.postgresql import running_server

PairMaker = Callable[..., Pair]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="covm-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_pair(place: Path) -> Iterator[PairMaker]:
    """Makes pairs: `make_pair(mill={"filling_bytes": 4096})`."""
    pairs: list[Pair] = []

    def make(**changes: Any) -> Pair:
        pairs.append(Pair.make(place, **changes))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.end()


@pytest.fixture
def postgresql_url() -> Iterator[Callable[[], str]]:
    """Makes URLs of stores on a server of this test's own, a schema for each."""
    with running_server() as server:
        numbers = itertools.count(1)
        yield lambda: f"{server.url}?schema=crash_{next(numbers)}"
