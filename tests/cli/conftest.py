"""Homes and nodes for the stories of the command line; everything started is ended."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.processes import Node

NodeStarter = Callable[..., Node]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    place = Path(tempfile.mkdtemp(prefix="covm-", dir="/tmp"))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def home(folder: Path) -> Path:
    """A home that does not exist yet."""
    return folder / "home"


@pytest.fixture
def start(folder: Path) -> Iterator[NodeStarter]:
    """Starts nodes: `start("a", "--name", "Mill Bakery")`."""
    nodes: list[Node] = []

    def start_node(place: str, *arguments: str, as_json: bool = True, forked: bool = True) -> Node:
        nodes.append(Node(folder / place, *arguments, as_json=as_json, forked=forked))
        return nodes[-1].wait_ready()

    yield start_node
    for node in nodes:
        node.end()


@pytest.fixture(scope="module")
def shop() -> Iterator[Node]:
    """One node for all tests of a file that leave it as it was; it reads what it publishes as `shop.note` itself."""
    with tempfile.TemporaryDirectory(prefix="covm-", dir="/tmp") as place:
        node = Node(Path(place) / "shop", "--name", "Corner Shop", "--receive", "shop.note")
        try:
            yield node.wait_ready()
        finally:
            node.end()


@pytest.fixture(scope="module")
def neighbours() -> Iterator[tuple[Node, Node]]:
    """As `pair`, for all tests of a file that leave them running and connected."""
    with tempfile.TemporaryDirectory(prefix="covm-", dir="/tmp") as place, connected(Path(place)) as nodes:
        yield nodes


@pytest.fixture
def bakery(start: NodeStarter) -> Node:
    return start("a", "--name", "Mill Bakery")


@pytest.fixture
def farm(start: NodeStarter) -> Node:
    return start("b", "--name", "Riverside Farm")


@pytest.fixture
def pair(folder: Path) -> Iterator[tuple[Node, Node]]:
    """Two connected nodes: Mill Bakery, Riverside Farm."""
    with connected(folder) as nodes:
        yield nodes


@contextlib.contextmanager
def connected(place: Path) -> Iterator[tuple[Node, Node]]:
    """Two connected nodes, started side by side."""
    bakery, farm = Node(place / "a", "--name", "Mill Bakery"), Node(place / "b", "--name", "Riverside Farm")
    try:
        bakery.wait_ready()
        bakery.ask("connect", farm.wait_ready().address)
        yield bakery, farm
    finally:
        bakery.end()
        farm.end()
