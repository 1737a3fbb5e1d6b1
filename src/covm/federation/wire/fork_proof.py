"""A proof that somebody said two things at one place: two signed records of one log with one number.

It stands for itself: whoever reads it needs no node, no store and nobody's word. It is a CAR file of three blocks:

    root      {v, covm: "fork", records: [[header, public key, signature], [header, public key, signature]]}
    headers   what was signed, so that the CID of each is the id of the record
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from covm import _native
from covm.federation.wire.car import Block, CarReader, MalformedFile, Read, car_block, car_header
from covm.federation.wire.envelope import EnvelopeParts, envelope_of, parts_of
from covm.federation.wire.kinds import Kind
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord, open_records
from covm.federation.wire.signed import read_map, write_map

PROOF_VERSION: Final = 1


class _Line(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: _native.Link
    public_key: bytes
    signature: bytes


class _Root(msgspec.Struct, frozen=True, kw_only=True):
    covm: Literal["fork"] = "fork"
    records: Annotated[tuple[_Line, ...], msgspec.Meta(min_length=2, max_length=2)]
    v: int = PROOF_VERSION


class ForkProof(NamedTuple):
    """Two records that one node signed, of which it may have signed one."""

    one: SignedRecord
    other: SignedRecord


def why_no_fork(one: SignedRecord, other: SignedRecord) -> str | None:
    """Why two records whose signatures hold prove nothing against their author; None when they do."""
    if one.id == other.id:
        return "both are the same record"
    if one.author != other.author:
        return "they are of two authors"
    if one.body.federation != other.body.federation:
        return "they are of two federations"
    if one.body.log != other.body.log:
        return "they are of two logs, and an author may write many"
    if one.body.seq != other.body.seq:
        return f"they have two numbers, {one.body.seq} and {other.body.seq}, as records of a log should"
    return None


def write_proof(proof: ForkProof) -> bytes:
    """The file's content; the same for the same two. Raises `ValueError` for two that prove nothing."""
    if (why := why_no_fork(*proof)) is not None:
        raise ValueError(why)
    parts = [parts_of(each.envelope) for each in sorted(proof, key=lambda each: each.id.bytes)]
    lines = [_Line(_native.cid(each.payload), each.public_key, each.signature) for each in parts]
    data = write_map(_Root(records=tuple(lines)))
    root = _native.cid(data)
    blocks = [(root, data), *((line.header, each.payload) for line, each in zip(lines, parts, strict=True))]
    return car_header(root) + b"".join(car_block(link, content) for link, content in blocks)


def read_proof(read: Read) -> ForkProof:
    """The two records in a file. Raises `Malformed`, saying why it proves nothing."""
    car = CarReader(read)
    blocks = car.blocks()
    first = next(blocks, None)
    if first is None or first.id != car.root:
        raise MalformedFile(car.offset, "the file does not begin with its root: it is no proof of a fork")
    root = _root(first)
    there: dict[_native.Link, Block] = {}
    for block in blocks:
        if block.id not in {line.header for line in root.records} or block.id in there:
            raise MalformedFile(block.offset, "there is a block that belongs to no proof")
        there[block.id] = block
    one, other = (_record(line, there, car.offset) for line in root.records)
    if (why := why_no_fork(one, other)) is not None:
        raise Malformed(why)
    return ForkProof(one, other)


def _root(block: Block) -> _Root:
    try:
        root: _Root = read_map(block.data, _Root, "the root of the file", PROOF_VERSION)
    except Malformed as error:
        raise MalformedFile(block.offset, f"this is no proof of a fork: {error.reason}") from None
    return root


def _record(line: _Line, there: dict[_native.Link, Block], end: int) -> SignedRecord:
    block = there.get(line.header)
    if block is None:
        raise MalformedFile(end, "one of the two records is not in the file")
    [record] = open_records([envelope_of(EnvelopeParts(line.public_key, Kind.RECORD, block.data, line.signature))])
    if isinstance(record, Malformed):
        raise MalformedFile(block.offset, f"one of the two records does not verify: {record.reason}")
    return record
