"""Homes and nodes for the stories of the command line; everything started is ended."""

from __future__ import annotations

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

    def start_node(place: str, *arguments: str, as_json: bool = True) -> Node:
        nodes.append(Node(folder / place, *arguments, as_json=as_json))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.end()


@pytest.fixture(scope="module")
def shop() -> Iterator[Node]:
    """One node for all tests of a file that leave it as it was; it reads what it publishes as `shop.note` itself."""
    with tempfile.TemporaryDirectory(prefix="covm-", dir="/tmp") as place:
        node = Node(Path(place) / "shop", "--name", "Corner Shop", "--receive", "shop.note")
        yield node
        node.end()


@pytest.fixture
def bakery(start: NodeStarter) -> Node:
    return start("a", "--name", "Mill Bakery")


@pytest.fixture
def farm(start: NodeStarter) -> Node:
    return start("b", "--name", "Riverside Farm")


@pytest.fixture
def pair(bakery: Node, farm: Node) -> tuple[Node, Node]:
    """Two connected nodes."""
    bakery.ask("connect", farm.address)
    return bakery, farm
