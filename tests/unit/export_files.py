"""Files with records in them, made by hand: as an export makes them, and as somebody makes them who means no good."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.unit.records_world import FEDERATION, TYPE, Author, Shelf

from covm._native import Link, cid, decode, encode
from covm.federation.offload import InlineOffload
from covm.federation.sync.export import Carried, ExportReader, ExportWriter
from covm.federation.sync.exporting import Carrier, Imported
from covm.federation.wire.car import Block, CarReader, car_block, car_header
from covm.federation.wire.record import SignedRecord


def carrier(shelf: Shelf) -> Carrier:
    return Carrier(shelf.keeper, InlineOffload())


async def imported(shelf: Shelf, path: Path) -> Imported:
    return await carrier(shelf).import_(path, lambda _type: None)


def chain(author: Author, length: int, key: str = "oven", value: Callable[[int], Any] = int) -> list[SignedRecord]:
    """Records that each replace the one before."""
    records: list[SignedRecord] = []
    for number in range(length):
        after = records[-1] if records else None
        records.append(author.write(key, value(number), after=after, on=records[-1:]))
    return records


def file_of(
    records: Sequence[SignedRecord],
    bodies: dict[Link, bytes | None],
    *,
    federation: Link = FEDERATION,
    type_name: str = TYPE,
    page: int = 256,
) -> bytes:
    """A file as it is written, with so many records a page."""
    file = io.BytesIO()
    writer = ExportWriter(file.write, federation, type_name)
    for start in range(0, len(records), page):
        writer.page([Carried(each.envelope, bodies[each.id]) for each in records[start : start + page]])
    _, beginning = writer.finish()
    file.seek(0)
    file.write(beginning)
    return file.getvalue()


class ReadPage(NamedTuple):
    """A page as it came out of a file, all of it verified."""

    records: list[SignedRecord]
    bodies: list[bytes | None]


def pages_of(data: bytes) -> list[ReadPage]:
    reader = ExportReader(io.BytesIO(data).read)
    return [ReadPage(reader.verified(page), [each.body for each in page.carried()]) for page in reader.pages()]


def blocks_of(data: bytes) -> list[Block]:
    return list(CarReader(io.BytesIO(data).read).blocks())


def car_of(root: Link, blocks: Sequence[bytes]) -> bytes:
    """A sound CAR file with whatever blocks."""
    return car_header(root) + b"".join(car_block(cid(data), data) for data in blocks)


def with_root(blocks: Sequence[bytes], **changes: Any) -> bytes:
    """A file whose root says something else, above these blocks."""
    root = encode({"covm": "records", "federation": FEDERATION, "type": TYPE, "v": 1} | changes)
    return car_of(cid(root), [root, *blocks])


def altered_lines(
    records: Sequence[SignedRecord],
    bodies: dict[Link, bytes | None],
    change: Callable[[list[list[object]]], list[list[object]]],
) -> bytes:
    """A file of one page whose lines are changed, with CIDs that fit that."""
    blocks = [each.data for each in blocks_of(file_of(records, bodies))]
    page = decode(blocks[1])
    page["records"] = change(page["records"])
    data = encode(page)
    return with_root([data, *blocks[2:]], pages=cid(data))


def swapped_signatures(lines: list[list[object]]) -> list[list[object]]:
    lines[0][2], lines[1][2] = lines[1][2], lines[0][2]
    return lines
