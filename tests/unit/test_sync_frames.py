"""How records travel in an answer: nothing stands between them."""

from __future__ import annotations

import pytest
from tests.unit.records_world import TYPE, Author

from covm import _native
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.sync_frames import (
    MAX_RECORDS,
    Carried,
    KnownSyncFrame,
    SyncHello,
    SyncRequest,
    SyncResponse,
    Wanted,
    decode_sync_frame,
    encode_sync_frame,
)


def carried(count: int) -> list[Carried]:
    """The first records of a log, with their bodies."""
    author, records = Author("ash"), list[SignedRecord]()
    for number in range(count):
        records.append(author.write(f"note {number}", "x" * number, after=records[-1] if records else None))
    return [Carried(each.envelope, author.bodies[each.id]) for each in records]


def size_of(records: list[Carried]) -> int:
    return sum(len(each.envelope) + len(each.body or b"") for each in records)


def test_a_record_that_travels_with_others_adds_nothing_but_itself() -> None:
    records = carried(300)
    frames = [encode_sync_frame(SyncResponse(number=7, records=records[:count])) for count in (200, 300)]
    beyond = [len(frame) - size_of(records[:count]) for frame, count in zip(frames, (200, 300), strict=True)]
    assert beyond[0] == beyond[1] < 40
    assert decode_sync_frame(frames[1]) == SyncResponse(number=7, records=records)


def test_records_come_without_their_bodies_where_those_are_not_held() -> None:
    author = Author("ash")
    gone = author.write("oven", None, op="delete", after=author.write("oven", 1))
    records = [*carried(20), Carried(gone.envelope, None)]
    some = [each if number % 3 else Carried(each.envelope, None) for number, each in enumerate(records)]
    frame = encode_sync_frame(SyncResponse(number=7, records=some, more=True))
    assert decode_sync_frame(frame) == SyncResponse(number=7, records=some, more=True)
    assert len(frame) - size_of(some) < 50


def test_what_is_empty_is_not_said() -> None:
    said: list[KnownSyncFrame] = [SyncHello((1, 0)), SyncRequest(number=1, type=TYPE), SyncResponse(number=1)]
    assert [set(_native.decode(encode_sync_frame(each))) for each in said] == [
        {"t", "v"},
        {"t", "number", "type"},
        {"t", "number"},
    ]
    log = _native.cid(b"a log")
    request = SyncRequest(number=1, type=TYPE, wants=[Wanted(log, [log], deep=True)])
    assert decode_sync_frame(encode_sync_frame(request)) == request


@pytest.mark.parametrize(
    ("records", "bare"),
    [
        ([], b""),
        (b"", 0),
        (b"no record", b""),
        (carried(1)[0].envelope, b""),
        (carried(1)[0].envelope[:-1], b"\1"),
        (carried(1)[0].envelope * (MAX_RECORDS + 1), b"\xff" * 300),
    ],
)
def test_records_that_do_not_come_apart_are_refused(records: object, bare: object) -> None:
    with pytest.raises(Malformed, match="the records of a frame"):
        decode_sync_frame(_native.encode({"t": "response", "number": 1, "records": records, "bare": bare}))
