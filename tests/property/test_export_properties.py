"""What holds of files with records for all of them: they read as they were written, and nothing else reads as one."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.export_files import blocks_of, chain, file_of, pages_of
from tests.unit.records_world import Author

from covm._native import cid
from covm.federation.wire.car import MalformedFile
from covm.federation.wire.envelope import EnvelopeParts, envelope_of, parts_of
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.varint import NotMinimal, read_varint, varint

ASH = Author("ash")
RECORDS = chain(ASH, 6)
SOUND = file_of(RECORDS, ASH.bodies, page=2)
STARTS = [block.offset for block in blocks_of(SOUND)]


@given(st.integers(0, 2**63 - 1), st.binary(max_size=4))
def test_a_number_is_read_as_it_was_written_and_what_follows_is_left(number: int, behind: bytes) -> None:
    assert read_varint(varint(number) + behind) == (number, len(varint(number)))


@given(st.binary(max_size=12))
def test_one_number_has_one_form(data: bytes) -> None:
    try:
        number, size = read_varint(data)
    except NotMinimal:
        return
    assert varint(number) == data[:size]


@given(st.binary(max_size=40), st.sampled_from(["/covm/record", ""]), st.binary(max_size=300), st.binary(max_size=70))
def test_an_envelope_is_the_same_again(key: bytes, kind: str, payload: bytes, signature: bytes) -> None:
    parts = EnvelopeParts(key, kind, payload, signature)
    assert parts_of(envelope_of(parts)) == parts


@given(st.binary(max_size=60))
def test_what_is_taken_apart_is_put_together_to_the_same_bytes(data: bytes) -> None:
    try:
        parts = parts_of(data)
    except Malformed:
        return
    assert envelope_of(parts) == data


@given(st.binary(max_size=300))
def test_no_bytes_bring_a_reader_down(data: bytes) -> None:
    refused(data)


@settings(max_examples=2000)
@given(st.integers(0, 2**32))
def test_no_altered_file_reads_as_a_whole_one_or_brings_the_reader_down(seed: int) -> None:
    data = altered(SOUND, random.Random(seed))
    if data != SOUND and not refused(data):
        # Blocks that stand twice, or in another order, say nothing else than they did.
        assert {each.id for each in records_in(data)} == {each.id for each in RECORDS}


def records_in(data: bytes) -> list[SignedRecord]:
    return [record for page in pages_of(data) for record in page.records]


def refused(data: bytes) -> bool:
    """Whether it is told to be none, with a place in it."""
    found = None
    try:
        pages_of(data)
    except MalformedFile as error:
        found = error
    assert found is None or (found.reason and 0 <= found.offset <= len(data))
    return found is not None


def altered(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, left out or put in; blocks that change places, are there twice, or carry a CID that fits."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at:]
            case 2:
                del changed[at : at + chance.randint(1, 64)]
            case 3:
                changed[at:at] = chance.randbytes(chance.randint(1, 16))
            case 4:
                start, end = sorted(chance.choices([*STARTS, len(data)], k=2))
                changed[at if chance.random() < 0.2 else start : at] = changed[start:end]
            case _:
                changed = bytearray(reworded(bytes(changed), chance))
        if not changed:
            break
    return bytes(changed)


def reworded(data: bytes, chance: random.Random) -> bytes:
    """One block says something else, and has the CID for it."""
    try:
        block = chance.choice(blocks_of(data))
    except MalformedFile:
        return data
    content = bytearray(block.data)
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)
    head = len(varint(36 + len(content)))
    start = block.offset + head
    return data[:start] + cid(bytes(content)).bytes + bytes(content) + data[start + 36 + len(content) :]
