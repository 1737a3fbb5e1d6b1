"""What is stored of files, large publications and gossip, on every engine."""

from __future__ import annotations

import os
from typing import Any

import pytest

from covm.federation.blobs import contents, rows, tables
from covm.federation.blobs.chunks import Node, Place
from covm.federation.blobs.source import Source
from covm.federation.gossip.journal import _load, _save
from covm.federation.gossip.numbers import BLOCK, OwnNumbers
from covm.federation.gossip.replay import Changes, Window
from covm.federation.store.interface import Store
from covm.federation.wire.incarnation import Incarnation

LIFE = Incarnation(2**40, b"nonce-01")
LARGEST = 2**63 - 1


def offered(number: int, **changes: Any) -> rows.OutRow:
    source = Source(b"/home/ada/oven-\xff.pdf", 2**53, LARGEST, 1_700_000_000_000_000_000)
    row = rows.OutRow(bytes([number]) * 16, "ada", "oven.pdf", source, b"root", tables.RUNNING, "", number)
    return row._replace(**changes)


def arriving(number: int, **changes: Any) -> rows.InRow:
    row = rows.InRow("ada", bytes([number]) * 16, "Ofen.pdf", None, 2**53, b"root", 0, tables.RUNNING, "", number, 5)
    return row._replace(**changes)


async def test_files_that_are_sent_come_back_as_they_were(store: Store) -> None:
    await store.write(lambda tx: rows.add_out(tx, offered(1)))
    await store.write(lambda tx: rows.add_out(tx, offered(2)))
    await store.write(lambda tx: rows.end_out(tx, bytes([1]) * 16, tables.FAILED, "it was refused there", 99))
    ended, running = await store.read(lambda tx: rows.load_out(tx, 10))
    assert ended == offered(1, state=tables.FAILED, reason="it was refused there")
    assert running == offered(2)


async def test_nodes_are_found_by_place_and_leave_with_their_file(store: Store) -> None:
    mid, other = bytes([1]) * 16, bytes([2]) * 16
    nodes = [Node(Place(1, 2**40), b"one"), Node(Place(2, 0), b"two")]
    await store.write(lambda tx: rows.add_out(tx, offered(1)))
    await store.write(lambda tx: rows.add_nodes(tx, mid, nodes))
    await store.write(lambda tx: rows.add_nodes(tx, other, nodes))
    await store.write(rows.drop_strays)
    assert await store.read(lambda tx: rows.node_body(tx, mid, Place(1, 2**40))) == b"one"
    assert await store.read(lambda tx: rows.node_body(tx, other, Place(2, 0))) is None
    await store.write(lambda tx: rows.end_out(tx, mid, tables.DONE, "", 9))
    assert await store.read(lambda tx: rows.node_body(tx, mid, Place(2, 0))) is None


async def test_a_file_that_arrives_goes_on_where_it_was_recorded(store: Store) -> None:
    row = arriving(1)
    await store.write(lambda tx: rows.add_in(tx, row))
    await store.write(lambda tx: rows.progress_in(tx, "ada", row.mid, 2**40, 77))
    await store.write(lambda tx: rows.add_in(tx, row))
    found = await store.read(lambda tx: rows.find_in(tx, "ada", row.mid))
    assert found == arriving(1, done_bytes=2**40, touched_at=77)
    await store.write(
        lambda tx: rows.end_in(tx, "ada", row.mid, state=tables.DONE, reason="", path=b"/x/\xff", now_ms=9)
    )
    assert await store.read(lambda tx: rows.load_in(tx, 10)) == [
        arriving(1, done_bytes=2**53, touched_at=77, state=tables.DONE, path=b"/x/\xff")
    ]


async def test_the_same_id_from_two_peers_is_two_files(store: Store) -> None:
    await store.write(lambda tx: rows.add_in(tx, arriving(1)))
    await store.write(lambda tx: rows.add_in(tx, arriving(1, peer="ben")))
    assert len(await store.read(lambda tx: rows.load_in(tx, 10))) == 2


async def test_only_the_latest_ended_files_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MAX_ENDED", 3)
    for number in range(1, 8):
        row = arriving(number)
        await store.write(lambda tx, row=row: rows.add_in(tx, row))  # type: ignore[misc]
        if number > 1:
            await store.write(
                lambda tx, row=row: rows.end_in(  # type: ignore[misc]
                    tx, "ada", row.mid, state=tables.DONE, reason="", path=None, now_ms=row.begun_at
                )
            )
    found = await store.read(lambda tx: rows.load_in(tx, 2))
    assert [row.begun_at for row in found] == [1, 6, 7], "what runs is always there"
    assert len(await store.read(lambda tx: rows.load_in(tx, 100))) == 4


async def test_large_publications_are_kept_for_an_hour_and_within_a_bound(store: Store) -> None:
    bodies = {bytes([number]): os.urandom(1_000) for number in range(5)}
    for number, (root, body) in enumerate(bodies.items()):
        await store.write(
            lambda tx, root=root, body=body, at=number: contents._save(tx, root, body, at, 100 + at, 3_000)  # type: ignore[misc]
        )
    kept = [await store.read(lambda tx, root=root: contents._read(tx, root, 50)) for root in bodies]  # type: ignore[misc]
    assert kept == [None, None, *list(bodies.values())[2:]]
    assert await store.read(lambda tx: contents._read(tx, bytes([4]), 104)) is None, "its hour is over"


async def test_windows_are_written_anew_and_read_in_the_order_in_which_authors_were_heard(store: Store) -> None:
    first = [Window(author, LIFE, LARGEST, 0b1011) for author in ("zoe", "ada", "ben")]
    await store.write(lambda tx: _save(tx, "topic", Changes(first, []), 1))
    later = [Window("zoe", LIFE, 7, 1)]
    await store.write(lambda tx: _save(tx, "topic", Changes(later, ["ben", "nobody"]), 2))
    await store.write(lambda tx: _save(tx, "another topic", Changes(first, []), 3))
    assert await store.read(lambda tx: _load(tx, "topic")) == [Window("ada", LIFE, LARGEST, 0b1011), *later]


async def test_our_own_numbers_are_reserved(store: Store) -> None:
    for life in range(2):
        numbers = OwnNumbers(store, "topic")
        await numbers.begin(LIFE)
        await numbers.ready()
        assert numbers.following == life * BLOCK + 1
