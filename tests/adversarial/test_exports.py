"""Files with records that were altered, cut off, put together by somebody else, or made to take a reader's memory.

THREATS.md, rows *sync*.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.unit.export_files import (
    altered_lines,
    blocks_of,
    car_of,
    chain,
    file_of,
    imported,
    pages_of,
    swapped_signatures,
    with_root,
)
from tests.unit.records_world import Author, Shelf

from covm._native import cid, decode, encode
from covm.federation.errors import BrokenExport
from covm.federation.offload import InlineOffload
from covm.federation.sync import export
from covm.federation.sync.exporting import Carrier
from covm.federation.wire.car import MAX_BLOCK, MalformedFile, car_header
from covm.federation.wire.envelope import parts_of

T = TypeVar("T")

ASH, BIRCH = Author("ash"), Author("birch")


def swapped_bodies(lines: list[list[object]]) -> list[list[object]]:
    lines[0][3], lines[1][3] = lines[1][3], lines[0][3]
    return lines


def other_key(lines: list[list[object]]) -> list[list[object]]:
    lines[0][1] = parts_of(BIRCH.write("oven").envelope).public_key
    return lines


SOUND = chain(ASH, 5)
BLOCKS = [each.data for each in blocks_of(file_of(SOUND, ASH.bodies))]
PAGE = cid(BLOCKS[1])

LIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "a letter": (b"Dear all, here are the minutes of last week.", "no CAR file"),
    "no root": (b"\x11" + encode({"roots": [], "version": 1}), "with one root"),
    "another version of CAR": (b"\x11" + encode({"roots": [], "version": 2}), "of version 1"),
    "another car": (car_of(cid(BLOCKS[2]), [BLOCKS[2]]), "no export of records"),
    "a root elsewhere": (car_of(cid(BLOCKS[0]), [*BLOCKS[1:], BLOCKS[0]]), "does not begin with its root"),
    "another version": (with_root(BLOCKS[1:], pages=PAGE, v=2), "version 2"),
    "another kind": (with_root(BLOCKS[1:], pages=PAGE, covm="fork"), "no export of records"),
    "no type": (with_root(BLOCKS[1:], pages=PAGE, type="Notes!"), "type name"),
    "another type": (with_root(BLOCKS[1:], pages=PAGE, type="notes.other"), "another type than notes.other"),
    "a federation of others": (
        file_of(
            [BIRCH.write("oven", federation=cid(b"others"))], BIRCH.bodies, federation=cid(b"others")
        ),
        "of the federation",
    ),
    "a record of another federation": (
        file_of([BIRCH.write("oven", federation=cid(b"others"))], BIRCH.bodies),
        "another federation than the file",
    ),
    "a missing page": (with_root(BLOCKS[1:], pages=cid(b"elsewhere")), "no page"),
    "a page too many": (
        with_root([*BLOCKS[1:], *(each.data for each in blocks_of(file_of(chain(BIRCH, 1), BIRCH.bodies))[1:])],
                  pages=PAGE),
        "does not lead",
    ),
    "a missing record": (with_root(BLOCKS[1:-1], pages=PAGE), "ends before"),
    "a strange block": (with_root([BLOCKS[1], encode("hello")], pages=PAGE), "not one of those"),
    "no page at all": (with_root([encode([1])], pages=cid(encode([1]))), "not a map"),
    "swapped signatures": (altered_lines(SOUND, ASH.bodies, swapped_signatures), "does not verify"),
    "swapped bodies": (altered_lines(SOUND, ASH.bodies, swapped_bodies), "body"),
    "another's key": (altered_lines(SOUND, ASH.bodies, other_key), "does not verify"),
    "a block without end": (file_of(SOUND, ASH.bodies) + b"\xff" * 8 + b"\x7f", "says that it has"),
    "an endless length": (file_of(SOUND, ASH.bodies) + b"\xff" * 20, "length"),
    "a length that is too long": (file_of(SOUND, ASH.bodies) + b"\x80\x00", "length"),
    "a small block": (file_of(SOUND, ASH.bodies) + b"\x05hello", "no room for its CID"),
    "a block of another kind": (file_of(SOUND, ASH.bodies) + b"\x25" + b"\x01\x55" + bytes(35), "not DAG-CBOR"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_file_that_lies_is_told_with_its_place_and_nothing_of_it_is_taken(lie: str, tmp_path: Path) -> None:
    data, why = LIES[lie]
    path = tmp_path / "notes.car"
    path.write_bytes(data)
    shelf = await Shelf().open()
    with pytest.raises(BrokenExport, match=why) as refused:
        await imported(shelf, path)
    assert refused.value.offset <= len(data)
    assert "nothing of it was taken" in str(refused.value)
    assert await shelf.states() == {}
    await shelf.store.close()


async def test_a_file_that_is_changed_while_it_is_taken_brings_nothing_that_does_not_verify(tmp_path: Path) -> None:
    path = tmp_path / "notes.car"
    path.write_bytes(file_of(SOUND, ASH.bodies))
    shelf = await Shelf().open()
    forged = altered_lines(SOUND, ASH.bodies, swapped_signatures)
    read = await Carrier(shelf.keeper, Overwriting(path, forged)).import_(path, lambda _type: None)
    assert path.read_bytes() == forged
    assert (read.records, read.new) == (5, 0)
    assert await shelf.states() == {}
    await shelf.store.close()


class Overwriting(InlineOffload):
    """Somebody writes over a file once it has been verified."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data = path, data
        self.beginnings = 0

    async def run(self, call: Callable[[], T]) -> T:
        if getattr(call, "__name__", "") == "begun":
            self.beginnings += 1
            if self.beginnings == 2:
                self.path.write_bytes(self.data)
        return await super().run(call)


def test_every_beginning_of_a_file_is_told_from_the_whole() -> None:
    data = file_of(SOUND[:3], ASH.bodies, page=2)
    for size in {*range(0, len(data), 5), *(block.offset for block in blocks_of(data))}:
        with pytest.raises(MalformedFile) as refused:
            pages_of(data[:size])
        assert refused.value.offset <= size
    assert len(pages_of(data)) == 2


def test_blocks_in_another_order_that_leads_from_the_root_are_read_too() -> None:
    """As other tools write them: the tree before its pages, each page before its records."""
    data = file_of(SOUND, ASH.bodies, page=2)
    blocks = [each.data for each in blocks_of(data)]
    tree = blocks.pop(-1)
    assert "pages" in decode(tree)
    pages = pages_of(car_of(cid(blocks[0]), [blocks[0], tree, *blocks[1:]]))
    assert sum(len(page.records) for page in pages) == 5


def test_more_pages_than_are_remembered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_PAGES", 3)
    assert len(pages_of(file_of(SOUND, ASH.bodies, page=2))) == 3
    with pytest.raises(MalformedFile, match="more than 3 pages"):
        pages_of(file_of(SOUND, ASH.bodies, page=1))


def test_a_page_with_more_bytes_than_fit_in_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of(SOUND, ASH.bodies)
    monkeypatch.setattr(export, "PAGE_BYTES", 500)
    with pytest.raises(MalformedFile, match="more than 500 bytes"):
        pages_of(data)


def test_a_block_that_is_too_large_is_not_even_read() -> None:
    asked: list[int] = []
    data = car_header(cid(b"")) + b"\xff\xff\xff\x7f"

    def read(size: int) -> bytes:
        asked.append(size)
        begin = sum(asked[:-1])
        return data[begin : begin + size]

    with pytest.raises(MalformedFile, match="are allowed"):
        export.ExportReader(read)
    assert max(asked) < MAX_BLOCK
