"""Pairs of nodes with a line between them; every process and every connection is ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.link import Link
from tests.crashes.conftest import place as place
from tests.crashes.nodes import Life, Pair

LinedPairMaker = Callable[..., Pair]


@pytest.fixture
def link() -> Iterator[Link]:
    with Link() as line:
        yield line


@pytest.fixture
def make_pair(place: Path, link: Link) -> Iterator[LinedPairMaker]:
    """Makes a pair that has the line alone between them: `make_pair(correspond)`."""
    pairs: list[Pair] = []

    def make(life: Life, **changes: Any) -> Pair:
        pair = Pair.make(place, life, **changes)
        pairs.append(pair)
        for node in pair.both:
            other = pair.other(node)
            node.settings.peer_address = f"/ip4/127.0.0.1/tcp/{link.way(other.settings.port)}/p2p/{node.settings.peer}"
        return pair

    yield make
    for pair in pairs:
        pair.end()
