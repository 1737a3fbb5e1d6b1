"""What each log has is counted as records come and bodies go; it is the same as all of it counted anew."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.store.places import Place
from tests.unit.records_world import TYPE, Anybody, Author, Shelf

from covm._native import Link
from covm.federation.store import make_store, migrations, salvage_home
from covm.federation.store.postgresql import PostgresStore
from covm.federation.store.sqlite import SqliteStore
from covm.federation.sync import retention, tables, usage_rows
from covm.federation.sync.plan import Arrived
from covm.federation.sync.quotas import Usage
from covm.federation.wire.record import SignedRecord

if TYPE_CHECKING:
    from covm.federation.store.interface import Store, Transaction

LARGE = "x" * 100_000


def recount(tx: Transaction) -> dict[Link, Usage]:
    rows = tx.execute("SELECT l.log, r.envelope, r.body FROM covm_records r JOIN covm_record_logs l ON l.id = r.log_id")
    found: dict[Link, Usage] = {}
    for log, envelope, body in rows:
        size_bytes = len(envelope) + (len(body) if body is not None else 0)
        found[Link(bytes(log))] = found.get(Link(bytes(log)), Usage()).plus(Usage(1, size_bytes))
    return found


async def is_counted(shelf: Shelf) -> None:
    counted = await shelf.store.read(recount)
    assert await shelf.store.read(usage_rows.load) == counted
    by_author: dict[str, Usage] = {}
    for log in shelf.keeper.logs:
        by_author[log.author] = by_author.get(log.author, Usage()).plus(counted[log.link])
    for author, usage in by_author.items():
        assert shelf.keeper.quotas.used((TYPE, author)) == usage


@pytest.mark.parametrize("seed", range(3))
async def test_after_random_traffic_erasures_retention_and_large_bodies_the_counts_are_a_recount(
    place: Place, seed: int
) -> None:
    chance, authority = random.Random(seed), Anybody()
    shelf = await Shelf(authority, place.store()).open()
    authors = [Author(f"{name} {seed}") for name in ("ash", "birch", "cedar")]
    ends: dict[str, SignedRecord] = {}
    puts: list[tuple[Author, SignedRecord]] = []
    batch: list[tuple[SignedRecord, bytes | None]] = []
    for step in range(150):
        author = chance.choice(authors)
        own = [record for whose, record in puts if whose is author]
        how: dict[str, Any] = {"after": ends.get(author.name)}
        if own and chance.random() < 0.25:
            target = chance.choice(own)
            record = author.write(target.body.key, f"why {step}", op="erase", target=target.id, **how)
        else:
            on = [chance.choice(puts)[1]] if puts and chance.random() < 0.7 else []
            key = on[0].body.key if on else f"key {step}"
            value = chance.choice([LARGE, "small", step])
            record = author.write(key, value, on=on, **how)
            puts.append((author, record))
        ends[author.name] = record
        batch.append((record, author.bodies[record.id]))
        if len(batch) >= 12:
            chance.shuffle(batch)
            await shelf.take(
                *(each for each, _ in batch), bodies=[None if chance.random() < 0.3 else body for _, body in batch]
            )
            later = [each for each in batch if chance.random() < 0.5]
            for each, body in later:
                if body is not None:
                    await shelf.keeper.embody([Arrived(each, body)])
                    await shelf.keeper.embody([Arrived(each, body)])
            batch.clear()
            await is_counted(shelf)
        if step % 40 == 39:
            await shelf.store.write(lambda tx: retention.save(tx, {("farm", TYPE): shelf.keeper.judged}))
            numbers = await shelf.store.read(lambda tx: retention.ripe(tx, TYPE, ["farm"], shelf.clock.now + 1))
            some = numbers[: len(numbers) // 2 + 1]
            await shelf.keeper.drop(lambda tx, some=some: retention.drop(tx, some))  # type: ignore[misc]
            await is_counted(shelf)
            authority.banned = {author.key.peer_id}
            await shelf.keeper.reconsider()
            authority.banned = set()
            await shelf.keeper.reconsider()
            await is_counted(shelf)
    await shelf.reopened()
    await is_counted(shelf)
    await shelf.store.close()


async def test_what_is_copied_out_of_a_damaged_store_is_counted_anew(tmp_path: Path) -> None:
    home, author = tmp_path / "home", Author("ash")
    home.mkdir(mode=0o700)
    shelf = await Shelf(store=make_store(home)).open()
    first = author.write("key", "value")
    await shelf.take(first, author.write("key", "lost", after=first), bodies=[author.bodies[first.id], None])
    await shelf.store.write(lambda tx: tx.execute("DELETE FROM covm_records WHERE seq = 2"))
    await shelf.store.close()
    salvage_home(home, tmp_path / "out.db").path.rename(home / "store.db")
    again = make_store(home)
    await again.open()
    [usage] = (await again.read(usage_rows.load)).values()
    assert usage == Usage(1, len(first.envelope) + len(author.bodies[first.id] or b""))
    await again.close()


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
async def test_a_store_of_before_has_its_records_counted_when_it_is_opened(place: Place, tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    root = Path(migrations.__file__).parent
    for path in sorted(root.glob("versions/v*.py"))[: migrations.REVISIONS.index("0005") + 1]:
        (versions / path.name).write_text(path.read_text())
    (versions.parent / "env.py").write_text((root / "env.py").read_text())
    before = _as_of_0005(place, versions.parent)
    await before.open()
    await before.write(_fill)
    await before.close()
    store = place.store()
    await store.open()
    query = "SELECT author, records, size_bytes FROM covm_record_logs ORDER BY author"
    assert await store.read(lambda tx: [tuple(row) for row in tx.execute(query)]) == [
        ("ash", 3, 3 * 10 + 2 * 7),
        ("birch", 0, 0),
    ]
    await store.close()


def _as_of_0005(place: Place, scripts: Path) -> Store:
    revisions = migrations.REVISIONS[: migrations.REVISIONS.index("0005") + 1]
    if place.kind == "sqlite":
        return SqliteStore(place.home, revisions=revisions, scripts=str(scripts))
    return PostgresStore(place.url, place.home, revisions=revisions, scripts=str(scripts))


def _fill(tx: Transaction) -> None:
    for number, author in enumerate(("ash", "birch"), 1):
        row = (number, bytes([number]), 1, author, 1, bytes(8), b"")
        tx.insert(tables.logs, ("id", "log", "type_id", "author", "number", "nonce", "basis"), [row])
    columns = (
        "id", "log_id", "branch", "seq", "type_id", "key", "op", "state", "reason", "superseded", "closers", "time_ms",
        "counter", "parents", "envelope", "body",
    )  # fmt: skip
    rows = [
        (bytes([seq]), 1, 0, seq, 1, "key", 0, 1, "", 0, "", 1, 0, b"", bytes(10), bytes(7) if seq > 1 else None)
        for seq in (1, 2, 3)
    ]
    tx.insert(tables.records, columns, rows)
