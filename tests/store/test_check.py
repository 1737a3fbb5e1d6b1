"""`covm store check` finds what is wrong; salvage copies out what can be read and verifies."""

# ruff: noqa: ASYNC240 - small files, and nothing else runs on the loop

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import pysqlite3
import pytest
from pyrage import x25519
from tests.store.places import Place, make_notes, note, notes, numbers
from tests.store.test_damage import (
    PAGE,
    another_file,
    emptied,
    removed,
    truncated,
    with_another_first_byte,
    with_flipped_bits,
)

from covm import _native
from covm.federation.errors import StoreCorrupt, StoreError, StoreUnavailable
from covm.federation.store import back_up_home, check_home, make_store, salvage_home
from covm.federation.store.interface import Store, Transaction
from covm.federation.store.tables import NEW_INCARNATION, get_meta
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, encode_body

KEYS = _native.Keypair.generate()
RECIPIENT = str(x25519.Identity.generate().to_public())


def body(seq: int) -> bytes:
    return encode_body(
        MessageBody(
            federation=open_federation("test").cid,
            type="test.note",
            author=KEYS.peer_id,
            incarnation=Incarnation(1, bytes(8)),
            seq=seq,
            mid=seq.to_bytes(16, "big"),
            to=KEYS.peer_id,
            sent_at=0,
            expires_at=None,
            payload="x" * 400,
        )
    )


def queue_messages(tx: Transaction) -> None:
    """A line with 500 sealed messages, and 500 bodies staged."""
    envelopes = KEYS.seal(Kind.MESSAGE.value, [body(seq) for seq in range(500)])
    for seq, envelope in enumerate(envelopes):
        tx.execute(
            "INSERT INTO covm_outbox (line_id, seq, mid, type, state, reason, was_stored, queued_at, expires_at, "
            '"offset", size, envelope) '
            "VALUES (1, :seq, :mid, 'test.note', 0, '', 0, 0, 0, 0, 1, :envelope)",
            {"seq": seq, "mid": seq.to_bytes(16, "big"), "envelope": envelope},
        )
        tx.execute(
            "INSERT INTO covm_staged (peer, mid, type, body, queued_at, expires_at) "
            "VALUES ('p', :mid, 'test.note', :body, 0, 0)",
            {"mid": seq.to_bytes(16, "big"), "body": body(seq)},
        )
    arrived = body(1)
    tx.execute(
        "INSERT INTO covm_inbox (id, line_id, author_id, seq, mid, type, body, size, checksum, received_at, "
        "expires_at, state, attempts, done, reason) "
        "VALUES (1, 1, 1, 1, :mid, 'test.note', :body, 1, :crc, 0, 0, 0, 0, '[]', '')",
        {"mid": bytes(16), "body": arrived, "crc": crc32(arrived)},
    )


def harm_rows(tx: Transaction) -> None:
    """A flipped bit in an envelope, one swapped for another kind's, one body cut short, one changed and still sound."""
    [sealed] = KEYS.seal("/covm/other", [body(7)])
    good = tx.execute("SELECT envelope FROM covm_outbox WHERE seq = 5").scalar_one()
    flipped = bytes(good[:-1]) + bytes([good[-1] ^ 1])
    for seq, envelope in ((5, flipped), (7, sealed)):
        tx.execute("UPDATE covm_outbox SET envelope = :envelope WHERE seq = :seq", {"seq": seq, "envelope": envelope})
    tx.execute(
        "UPDATE covm_staged SET body = :body WHERE mid = :mid", {"mid": (9).to_bytes(16, "big"), "body": body(9)[:-1]}
    )
    tx.execute("UPDATE covm_inbox SET body = :body", {"body": body(2)})


@pytest.fixture
async def full(store: Store) -> Store:
    await store.write(queue_messages)
    return store


both = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@both
async def test_a_sound_store_is_found_sound_while_the_node_runs(full: Store, place: Place) -> None:
    report = await asyncio.to_thread(check_home, place.home, place.url)
    assert report.problems == []
    assert report.counts["covm_outbox"] == report.counts["covm_staged"] == 500


@both
async def test_messages_that_do_not_verify_are_named(full: Store, place: Place) -> None:
    await full.write(harm_rows)
    report = await asyncio.to_thread(check_home, place.home, place.url)
    assert len(report.problems) == 4
    assert sum("covm_outbox, id 6: its envelope does not open: bad_signature" in each for each in report.problems) == 1
    assert sum("covm_outbox, id 8: its envelope does not open" in each for each in report.problems) == 1
    assert sum("covm_staged, id 10: its message cannot be read" in each for each in report.problems) == 1
    assert sum("covm_inbox, id 1: its message is not any more what was" in each for each in report.problems) == 1


async def damaged_home(home: Path, *, notes_too: bool = False) -> Path:
    store = make_store(home)
    await store.open()
    await store.write(make_notes)
    await store.write(queue_messages)
    if notes_too:
        rows = [(number, "x", bytes(600)) for number in range(3000)]
        await store.write(lambda tx: tx.insert(notes, ("id", "text", "body"), rows))
    await store.close()
    return home / "store.db"


async def test_a_damaged_file_is_described(tmp_path: Path) -> None:
    with_flipped_bits(await damaged_home(tmp_path))
    report = check_home(tmp_path)
    assert report.problems
    assert any("SQLite says" in each or "cannot be read" in each for each in report.problems)


@pytest.mark.parametrize("harm", [emptied, removed])
async def test_where_a_store_was_nobody_is_told_to_start_without_it(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """A start refuses such a home, so neither a check nor a backup nor a salvage says that one would help."""
    harm(await damaged_home(tmp_path))
    with pytest.raises(StoreCorrupt):
        await make_store(tmp_path).open()
    for command in (check_home, partial(back_up_home, target=tmp_path / "backup", recipient=RECIPIENT)):
        with pytest.raises(StoreUnavailable, match=r"this home had a store.*restore FILE --replace"):
            command(tmp_path)
    with pytest.raises(StoreError, match="restore FILE --replace"):
        salvage_home(tmp_path, tmp_path / "copy.db")


async def test_a_home_before_its_first_start_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is none here; choose another --home, or start the node once"):
        check_home(tmp_path)
    (tmp_path / "store.db").touch()
    with pytest.raises(StoreUnavailable, match="there is nothing in it; choose another --home, or start the node once"):
        check_home(tmp_path)
    store = make_store(tmp_path)
    await store.open()
    await store.close()
    assert check_home(tmp_path).problems == []


async def salvaged(home: Path, path: Path) -> Store:
    """The salvaged file in the place of the damaged one."""
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (home / name).unlink(missing_ok=True)
    path.rename(home / "store.db")
    store = make_store(home)
    await store.open()
    return store


@pytest.mark.parametrize("harm", [with_flipped_bits, truncated])
async def test_what_can_be_read_and_verifies_is_copied_out(tmp_path: Path, harm: object) -> None:
    path = await damaged_home(tmp_path / "home", notes_too=True)
    harm(path)  # type: ignore[operator]
    with pytest.raises(StoreCorrupt):
        await make_store(tmp_path / "home").open()
    before = path.read_bytes()
    report = salvage_home(tmp_path / "home", tmp_path / "out.db")
    assert path.read_bytes() == before
    assert report.damaged
    assert report.path.stat().st_mode & 0o777 == 0o600
    store = await salvaged(tmp_path / "home", report.path)
    assert await store.read(lambda tx: get_meta(tx, NEW_INCARNATION)) == b"salvaged"
    found = await store.read(numbers)
    await store.close()
    assert found == sorted(found)
    total = sum(report.rows[name] for name in ("covm_outbox", "covm_staged", "note"))
    assert total > 1000
    assert check_home(tmp_path / "home").problems == []


async def test_a_damaged_page_costs_no_more_than_the_rows_in_it(tmp_path: Path) -> None:
    path = await damaged_home(tmp_path / "home", notes_too=True)
    leaf = leaf_of_the_notes(path)
    data = bytearray(path.read_bytes())
    data[leaf : leaf + 12] = bytes(12)
    path.write_bytes(data)
    report = salvage_home(tmp_path / "home", tmp_path / "out.db")
    assert report.damaged == ["note"]
    assert 3000 - 2 * PAGE // 600 <= report.rows["note"] < 3000
    assert report.rows["covm_outbox"] == 500


@pytest.mark.parametrize("ended", ["stopped", "killed"])
async def test_one_flipped_bit_in_what_every_file_begins_with_costs_nothing(tmp_path: Path, ended: str) -> None:
    """After a kill the newest rows lie in the write-ahead log alone."""
    await damaged_home(tmp_path / "home", notes_too=True)
    store, hurt = make_store(tmp_path / "home"), tmp_path / "hurt"
    hurt.mkdir()
    await store.open()
    await store.write(note(3000))
    if ended == "stopped":
        await store.close()
    for file in (tmp_path / "home").glob("store.db*"):
        shutil.copy(file, hurt)
    await store.close()
    (hurt / "store.db-shm").unlink(missing_ok=True)
    with_another_first_byte(hurt / "store.db")
    before = (hurt / "store.db").read_bytes()
    report = salvage_home(hurt, tmp_path / "out.db")
    assert (report.damaged, report.left_out, report.rows["note"]) == ([], {}, 3001)
    assert (hurt / "store.db").read_bytes() == before
    assert [path.name for path in tmp_path.glob("out.db*")] == ["out.db"], "a copy of the store was left"


async def test_what_is_no_database_is_not_taken_for_one(tmp_path: Path) -> None:
    another_file(await damaged_home(tmp_path / "home"))
    with pytest.raises(StoreError, match="nothing can be read of it"):
        salvage_home(tmp_path / "home", tmp_path / "out.db")
    assert not list(tmp_path.glob("out.db*"))


async def test_an_applications_indexes_views_and_triggers_come_along(tmp_path: Path) -> None:
    path = await damaged_home(tmp_path / "home", notes_too=True)
    made = {
        "note_by_text": "CREATE INDEX note_by_text ON note (text)",
        "note_once": "CREATE UNIQUE INDEX note_once ON note (id, text)",
        "long_note": "CREATE VIEW long_note AS SELECT id FROM note WHERE length(text) > 3",
        "note_kept": "CREATE TRIGGER note_kept BEFORE INSERT ON note BEGIN SELECT RAISE(ABORT, 'no more'); END",
    }
    with contextlib.closing(pysqlite3.connect(path)) as raw:
        for statement in made.values():
            raw.execute(statement)
        # A statement that is damaged itself keeps that one index from being made again.
        raw.execute("CREATE INDEX hurt ON note (body)")
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX hurt ON note (bodx)' WHERE name = 'hurt'")
        raw.commit()
    report = salvage_home(tmp_path / "home", tmp_path / "out.db")
    assert (report.rows["note"], report.not_made) == (3000, ["index hurt"])
    with contextlib.closing(pysqlite3.connect(tmp_path / "out.db")) as raw:
        found = dict(raw.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'covm%'"))
    assert made.items() <= found.items()


def leaf_of_the_notes(path: Path) -> int:
    """Where a page in the middle of the table lies: the one that holds the note 1500."""
    with path.open("rb") as file:
        data = file.read()
    connection = pysqlite3.connect(path)
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'note'").fetchone()[0]
    connection.close()
    # An interior table page: a 12-byte head, then cell pointers; each cell is the number of a child page and a key.
    start = (root - 1) * PAGE
    assert data[start] == 5
    count = int.from_bytes(data[start + 3 : start + 5], "big")
    pointer = start + 12 + 2 * (count // 2)
    cell = start + int.from_bytes(data[pointer : pointer + 2], "big")
    return (int.from_bytes(data[cell : cell + 4], "big") - 1) * PAGE


async def test_where_there_is_no_store_nothing_is_salvaged_and_no_empty_one_is_handed_over(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    with pytest.raises(StoreError, match="bring a backup back"):
        salvage_home(tmp_path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


async def test_messages_that_do_not_verify_are_left_behind(tmp_path: Path) -> None:
    await damaged_home(tmp_path / "home")
    store = make_store(tmp_path / "home")
    await store.open()
    await store.write(harm_rows)
    await store.close()
    report = salvage_home(tmp_path / "home", tmp_path / "out.db")
    assert report.left_out == {"covm_outbox": 2, "covm_staged": 1, "covm_inbox": 1}
    assert report.rows["covm_outbox"] == 498
    with pytest.raises(StoreError, match="choose another file"):
        salvage_home(tmp_path / "home", tmp_path / "out.db")
