"""CARv1: blocks of content behind one another in a file, each with its CID (https://ipld.io/specs/transport/car/carv1).

    header  length, {roots: [CID], version: 1}          block  length, CID, content

Read strictly: one root, every block DAG-CBOR and named by its SHA-256, none larger than `MAX_BLOCK`. What is read has
been checked against its CID. Nothing here opens a file: bytes come from a function that reads, and go to one that
writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from covm import _native
from covm.federation.wire.limits import MAX_FRAME
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.varint import MAX_VARINT, NotMinimal, read_varint, varint

MAX_BLOCK: Final = MAX_FRAME
"""Bytes of a block's content: what an envelope may have, and so more than any header or body."""

_CID_PREFIX: Final = b"\x01\x71\x12\x20"
"""Version 1, dag-cbor, sha2-256, 32 bytes."""

_CID_SIZE: Final = len(_CID_PREFIX) + 32
_MAX_HEADER: Final = 1024

Read = Callable[[int], bytes]
"""Reads so many bytes, fewer only at the end."""


class MalformedFile(Malformed):
    """A file is not what it should be; `offset` is the byte at which that was found."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset


class Block(NamedTuple):
    """A block that is what its CID says."""

    id: _native.Link
    data: bytes
    offset: int
    """Where it begins in the file."""


def car_header(root: _native.Link) -> bytes:
    """How a file begins. All roots make the same size."""
    data = _native.encode({"roots": [root], "version": 1})
    return varint(len(data)) + data


def car_block(link: _native.Link, data: bytes) -> bytes:
    """A block as it stands in a file."""
    return b"".join((varint(_CID_SIZE + len(data)), link.bytes, data))


class CarReader:
    """Reads one file from its beginning."""

    def __init__(self, read: Read) -> None:
        """Reads the header. Raises `MalformedFile`."""
        self._read = read
        self.offset = 0
        """How far it was read."""
        self.root = self._header()

    def blocks(self) -> Iterator[Block]:
        """The blocks, in order. Raises `MalformedFile` at the first that is none; what came before was right."""
        while True:
            begins = self.offset
            size = self._length(_CID_SIZE + MAX_BLOCK)
            if size is None:
                return
            if size < _CID_SIZE:
                raise MalformedFile(begins, f"a block of {size} bytes has no room for its CID")
            content = self._exactly(size, begins, "the file ends within a block")
            name, data = content[:_CID_SIZE], content[_CID_SIZE:]
            if not name.startswith(_CID_PREFIX):
                raise MalformedFile(begins, "a block is not DAG-CBOR with a SHA-256 (CIDv1)")
            link = _native.cid(data)
            if link.bytes != name:
                raise MalformedFile(begins, "a block's content is not what its CID says: it was altered")
            yield Block(link, data, begins)

    def _header(self) -> _native.Link:
        size = self._length(_MAX_HEADER)
        if size is None:
            raise MalformedFile(0, "the file is empty")
        try:
            fields = _native.decode(self._exactly(size, 0, "this is no CAR file: it ends within its header"))
        except _native.DecodeError as error:
            raise MalformedFile(0, f"this is no CAR file: its header is not DAG-CBOR ({error})") from None
        if type(fields) is not dict or fields.get("version") != 1:
            raise MalformedFile(0, "this is no CAR file of version 1")
        roots = fields.get("roots")
        if type(roots) is not list or len(roots) != 1 or type(roots[0]) is not _native.Link or len(fields) != 2:
            raise MalformedFile(0, "this is no CAR file with one root")
        return roots[0]

    def _length(self, most: int) -> int | None:
        """The length of what comes; None at the end."""
        begins, found = self.offset, b""
        while byte := self._read(1):
            self.offset += 1
            found += byte
            if byte[0] <= 0x7F or len(found) == MAX_VARINT:
                break
        if not found:
            return None
        try:
            size, _ = read_varint(found)
        except NotMinimal as error:
            raise MalformedFile(begins, f"there is no length of a block: {error}") from None
        if size > most:
            raise MalformedFile(begins, f"a block says that it has {size:,} bytes, and {most:,} are allowed")
        return size

    def _exactly(self, size: int, begins: int, why: str) -> bytes:
        data = self._read(size)
        self.offset += len(data)
        if len(data) < size:
            raise MalformedFile(begins, f"{why}: {len(data):,} of {size:,} bytes are there")
        return data
