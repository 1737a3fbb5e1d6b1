"""An export: the records of one type as content blocks in a CAR file, put together and read again. Rules: no files.

    root   {v, covm: "records", federation, type, pages: the top of the tree}
    page   {v, records: [[header, public key, signature, body or null], ...]}, then the headers and bodies themselves
    tree   {v, pages: [page or tree, ...]}, up to 1,024 each; one page alone is the top itself

Each header and body is a block of its own, whose CID is the id of the record, or the one that its header names. With
public key and signature it makes the envelope again, byte for byte, so that whoever reads a file proves each author.
Header and root have a size that is known before their content is, so a file is written in one go, page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from covm import _native
from covm.federation.wire.car import Block, CarReader, MalformedFile, Read, car_block, car_header
from covm.federation.wire.envelope import EnvelopeParts, envelope_of, parts_of
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_TYPE_NAME
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.names import is_type_name
from covm.federation.wire.record import SignedRecord, decode_record_body, open_records
from covm.federation.wire.signed import read_map, write_map

EXPORT_VERSION: Final = 1

PAGE_RECORDS: Final = 256
"""Records of a page: what is judged at once, and a page of 64 KiB."""

PAGE_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the headers and bodies of a page: what is in memory at once, of whatever file."""

FANOUT: Final = 1024
"""Pages below one block of the tree: some 40 KiB."""

MAX_PAGES: Final = 1024 * 1024
"""Pages that a file may have, and links to them: 268 million records. As many are remembered while it is read."""

_NOWHERE: Final = _native.cid(b"")
"""Stands where a link will be: all have the same size."""

_Links = Annotated[tuple[_native.Link, ...], msgspec.Meta(min_length=1, max_length=FANOUT)]
"""Bound here and not in the class, whose annotations are read when the first file is."""


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """The block that leads to all others."""

    covm: Literal["records"] = "records"
    federation: _native.Link
    type: Annotated[str, msgspec.Meta(max_length=MAX_TYPE_NAME)]
    pages: _native.Link
    v: int = EXPORT_VERSION


class Line(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One record of a page."""

    header: _native.Link
    public_key: bytes
    signature: bytes
    body: _native.Link | None
    """None for what has none, or one that was not held where the file was written."""


class _Page(msgspec.Struct, frozen=True):
    records: Annotated[tuple[Line, ...], msgspec.Meta(min_length=1, max_length=PAGE_RECORDS)]
    v: int = EXPORT_VERSION


class _Tree(msgspec.Struct, frozen=True):
    pages: _Links
    v: int = EXPORT_VERSION


class Carried(NamedTuple):
    """A record as it goes into a file: its envelope, and its body where that is held."""

    envelope: bytes
    body: bytes | None


class ExportWriter:
    """Writes one export. What was written is one when `finish` has returned, and its beginning has been replaced."""

    def __init__(self, write: Callable[[bytes], object], federation: _native.Link, type_name: str) -> None:
        self._write = write
        self._federation = federation
        self._type = type_name
        self._levels: list[list[_native.Link]] = [[]]
        write(self._beginning(_NOWHERE)[1])

    def page(self, records: Sequence[Carried]) -> None:
        """Writes 1 to `PAGE_RECORDS` records, of `PAGE_BYTES` at most."""
        lines: list[Line] = []
        blocks: dict[_native.Link, bytes] = {}
        for envelope, body in records:
            parts = parts_of(envelope)
            header = _native.cid(parts.payload)
            blocks[header] = parts.payload
            link = None if body is None else _native.cid(body)
            if link is not None and body is not None:
                blocks[link] = body
            lines.append(Line(header, parts.public_key, parts.signature, link))
        page = self._block(write_map(_Page(tuple(lines))))
        self._write(b"".join(car_block(link, data) for link, data in blocks.items()))
        self._push(0, page)

    def finish(self) -> tuple[_native.Link, bytes]:
        """Writes what is left of the tree. Returns the root, and what belongs at the beginning of the file now."""
        level = 0
        while len(links := self._levels[level]) != 1 or level < len(self._levels) - 1:
            if links:
                self._fold(level)
            level += 1
        return self._beginning(links[0])

    def _push(self, level: int, link: _native.Link) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(link)
        if len(self._levels[level]) == FANOUT:
            self._fold(level)

    def _fold(self, level: int) -> None:
        links, self._levels[level] = self._levels[level], []
        self._push(level + 1, self._block(write_map(_Tree(tuple(links)))))

    def _block(self, data: bytes) -> _native.Link:
        link = _native.cid(data)
        self._write(car_block(link, data))
        return link

    def _beginning(self, pages: _native.Link) -> tuple[_native.Link, bytes]:
        data = write_map(Root(federation=self._federation, type=self._type, pages=pages))
        root = _native.cid(data)
        return root, car_header(root) + car_block(root, data)


class Page(NamedTuple):
    """A page with its headers and bodies, each of which is what its CID says."""

    lines: tuple[Line, ...]
    blocks: dict[_native.Link, Block]

    def carried(self) -> list[Carried]:
        """Its records, in order. Nobody has looked at their signatures."""
        bodies = (None if line.body is None else self.blocks[line.body].data for line in self.lines)
        return [
            Carried(_envelope(line, self.blocks[line.header].data), body)
            for line, body in zip(self.lines, bodies, strict=True)
        ]


class ExportReader:
    """Reads an export from its beginning, and believes nothing."""

    def __init__(self, read: Read) -> None:
        """Reads the root. Raises `MalformedFile`."""
        self._car = CarReader(read)
        self._blocks = self._car.blocks()
        first = next(self._blocks, None)
        if first is None or first.id != self._car.root:
            raise MalformedFile(self._car.offset, "the file does not begin with its root: it is no export of records")
        self.root = _read_root(first)
        self.root_id = first.id
        self._trees: dict[_native.Link, tuple[_native.Link, ...]] = {}
        self._pages: set[_native.Link] = set()
        self._links = 0

    def pages(self) -> Iterator[Page]:
        """Page by page, every CID verified. Raises `MalformedFile`; whether the file is whole is known at its end."""
        for block in self._blocks:
            found = _read_block(block)
            if isinstance(found, _Tree):
                self._links += len(found.pages)
                self._trees[block.id] = found.pages
            else:
                self._pages.add(block.id)
                yield self._page(found, block.offset)
            if max(self._links, len(self._pages)) > MAX_PAGES:
                raise MalformedFile(block.offset, f"the file has more than {MAX_PAGES:,} pages")
        self._require_whole()

    def _page(self, page: _Page, offset: int) -> Page:
        wanted = dict.fromkeys(link for line in page.records for link in (line.header, line.body) if link is not None)
        there: dict[_native.Link, Block] = {}
        left_bytes = PAGE_BYTES
        while len(there) < len(wanted):
            block = next(self._blocks, None)
            if block is None:
                missing = len(wanted) - len(there)
                raise MalformedFile(self._car.offset, f"the file ends before {missing} blocks of the page at {offset}")
            if block.id not in wanted:
                raise MalformedFile(block.offset, f"a block is not one of those that the page at {offset} names")
            left_bytes -= 0 if block.id in there else len(block.data)
            if left_bytes < 0:
                raise MalformedFile(block.offset, f"the records of a page have more than {PAGE_BYTES:,} bytes")
            there[block.id] = block
        return Page(page.records, there)

    def verified(self, page: Page) -> list[SignedRecord]:
        """The records of a page: signature, federation, type and body of each are right. Raises `MalformedFile`."""
        opened = open_records([each.envelope for each in page.carried()])
        return [
            self._sound(record, page.blocks[line.header], None if line.body is None else page.blocks[line.body])
            for line, record in zip(page.lines, opened, strict=True)
        ]

    def _sound(self, record: SignedRecord | Malformed, header: Block, body: Block | None) -> SignedRecord:
        if isinstance(record, Malformed):
            raise MalformedFile(header.offset, f"a record does not verify: {record.reason}")
        if record.body.federation != self.root.federation:
            raise MalformedFile(header.offset, "a record is of another federation than the file")
        if record.body.type != self.root.type:
            raise MalformedFile(header.offset, f"a record is of another type than {self.root.type}")
        if body is not None:
            try:
                decode_record_body(body.data, record.body)
            except Malformed as error:
                raise MalformedFile(body.offset, error.reason) from None
        return record

    def _require_whole(self) -> None:
        """The tree leads to each page, and to nothing else."""
        left, pending = self._pages | self._trees.keys(), [self.root.pages]
        while pending:
            link = pending.pop()
            if link not in left:
                raise MalformedFile(self._car.offset, f"the file has no page {link}, or names it twice")
            left.remove(link)
            pending += self._trees.get(link, ())
        if left:
            raise MalformedFile(self._car.offset, "the file has pages to which its root does not lead")


def is_export(read: Read, federation: _native.Link, type_name: str) -> bool:
    """Whether a file begins as an export of these records does."""
    try:
        root = ExportReader(read).root
    except MalformedFile:
        return False
    return root.federation == federation and root.type == type_name


def _envelope(line: Line, header: bytes) -> bytes:
    return envelope_of(EnvelopeParts(line.public_key, Kind.RECORD, header, line.signature))


def _read_root(block: Block) -> Root:
    try:
        root: Root = read_map(block.data, Root, "the root of the file", EXPORT_VERSION)
    except Malformed as error:
        raise MalformedFile(block.offset, f"this is no export of records: {error.reason}") from None
    if not is_type_name(root.type):
        raise MalformedFile(block.offset, "this is no export of records: its type is no type name")
    return root


def _read_block(block: Block) -> _Page | _Tree:
    try:
        fields: Any = _native.decode(block.data)
        is_tree = type(fields) is dict and "pages" in fields
        kind = _Tree if is_tree else _Page
        found: _Page | _Tree = read_map(block.data, kind, "a page of the file", EXPORT_VERSION)
    except Malformed as error:
        raise MalformedFile(block.offset, error.reason) from None
    except _native.DecodeError as error:
        raise MalformedFile(block.offset, f"a block is not DAG-CBOR: {error}") from None
    return found
