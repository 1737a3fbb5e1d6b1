"""Two processes and one store; and a process that is killed in the middle of its writes."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.store.places import Place, numbers

from covm.federation.errors import HomeInUse

ROOT = Path(__file__).resolve().parent.parent.parent
CYCLES = 5

pytestmark = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@contextmanager
def writing(place: Place) -> Iterator[subprocess.Popen[str]]:
    """A process that has the store open and writes; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.writing_process", str(place.home), place.url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


async def test_a_second_process_is_refused_while_the_first_has_the_store(place: Place) -> None:
    with writing(place), pytest.raises(HomeInUse, match="another node already runs"):
        await place.store().open()
    store = place.store()
    await store.open()
    with pytest.raises(HomeInUse):
        await place.store().open()
    await store.close()


async def test_what_was_acknowledged_before_a_kill_is_there(place: Place) -> None:
    acknowledged: set[int] = set()
    chance = random.Random(7)
    for _ in range(CYCLES):
        with writing(place) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 400)):
                acknowledged.add(int(process.stdout.readline()))
            process.kill()
            acknowledged |= {int(line) for line in process.stdout if line.endswith("\n")}
    store = place.store()
    await store.open()
    found = await store.read(numbers)
    await store.close()
    assert acknowledged <= set(found)
    assert found == list(range(len(found)))
