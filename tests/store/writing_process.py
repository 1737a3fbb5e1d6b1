"""A process that writes notes and says of each that it is committed; the test kills it. Arguments: home, URL or ""."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.store.places import make_notes, note, numbers

from covm.federation.store import make_store
from covm.federation.store.interface import Store


async def main(home: Path, url: str) -> None:
    store = make_store(home, url)
    await store.open()
    await store.write(make_notes)
    done = len(await store.read(numbers))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    while True:
        await asyncio.gather(*(write(store, number) for number in range(done, done + 8)))
        done += 8


async def write(store: Store, number: int) -> None:
    await store.write(note(number))
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
