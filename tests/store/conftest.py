"""Each promise of the store is asked of every engine; PostgreSQL is started once for the whole run."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.postgresql import Server, running_server
from tests.store.places import Place, make_notes

from covm.federation.store.interface import Store

ENGINES = ["inline", "sqlite", "postgresql"]
_schemas = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


def fresh_url(server: Server) -> str:
    """A schema that nobody else uses."""
    return f"{server.url}?schema=covm_{next(_schemas)}"


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    url = fresh_url(request.getfixturevalue("server")) if request.param == "postgresql" else ""
    made = Place(request.param, tmp_path / "home", url)
    made.home.mkdir(mode=0o700)
    yield made
    made.end()


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """An open store with the table of notes."""
    made = place.store()
    await made.open()
    await made.write(make_notes)
    yield made
    await made.close()
