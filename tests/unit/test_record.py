"""The record header: one form, read strictly; its log, its body, and what follows what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.membership_world import NOON_MS, key_of, salt, signed_record

from covm import _native
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_COUNTER, MAX_DIRECT_PAYLOAD, MAX_PARENTS, MAX_RECORD_KEY
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import (
    Auth,
    Hlc,
    Place,
    RecordHeader,
    decode_record,
    decode_record_body,
    encode_record,
    encode_record_body,
    log_id,
    open_records,
    place_of,
    seal_record,
    why_not_after,
)
from covm.federation.wire.signed import seal

NODE = key_of("a node")
SOME = _native.cid(b"\xa0")
BODY = encode_record_body(salt("body"), {"title": "Bake together"})


def header(**changes: Any) -> RecordHeader:
    fields: dict[str, Any] = {
        "federation": SOME,
        "type": "governance.proposal",
        "key": "shared-oven",
        "author": NODE.peer_id,
        "incarnation": Incarnation(7, b"nonce-of"),
        "seq": 1,
        "prev": None,
        "parents": (),
        "auth": Auth(SOME, SOME),
        "hlc": Hlc(NOON_MS, 0),
        "op": "put",
        "body": _native.cid(BODY),
        "size": len(BODY),
        "target": None,
    }
    return RecordHeader(**(fields | changes))


def places(count: int) -> tuple[Place, ...]:
    logs = sorted((_native.cid(_native.encode(number)) for number in range(count)), key=lambda link: link.bytes)
    return tuple(Place(log, 1, SOME) for log in logs)


def test_a_header_comes_back_as_it_was_signed() -> None:
    for each in (
        header(seq=2, prev=SOME, parents=places(MAX_PARENTS)),
        header(op="delete", body=None, size=0),
        header(op="erase", target=SOME),
    ):
        assert decode_record(encode_record(each)) == each


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seq": 2}, "whether there is one before it"),
        ({"prev": SOME}, "whether there is one before it"),
        ({"seq": 0}, "at seq"),
        ({"body": None, "size": 0}, "a put or an erase without one"),
        ({"op": "delete"}, "a delete with a body"),
        ({"op": "delete", "body": None}, "a delete with a body"),
        ({"op": "erase", "body": None, "size": 0, "target": SOME}, "a put or an erase without one"),
        ({"op": "erase"}, "an erase without one"),
        ({"target": SOME}, "without being an erase"),
        ({"op": "merge"}, "at op"),
        ({"type": "Proposal"}, "type name"),
        ({"key": "k" * (MAX_RECORD_KEY + 1)}, "at key"),
        ({"key": ""}, "1 to 256 characters"),
        ({"key": "ov\0en"}, "NUL"),
        ({"key": "\ud800"}, "cannot be signed"),
        ({"size": MAX_DIRECT_PAYLOAD + 1}, "at size"),
        ({"parents": places(2)[::-1]}, "out of order"),
        ({"parents": places(1) * 2}, "out of order"),
        ({"parents": places(MAX_PARENTS + 1)}, "at parents"),
        ({"hlc": Hlc(-1, 0)}, "at hlc"),
        ({"hlc": Hlc(NOON_MS, MAX_COUNTER + 1)}, "at hlc"),
        ({"incarnation": Incarnation(1, b"short")}, "at incarnation"),
        ({"author": ""}, "at author"),
        ({"v": 2}, "version"),
        ({"key": 1.5}, "cannot be signed"),
    ],
)
def test_what_does_not_fit_is_neither_written_nor_read(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode_record(header(**changes))


def test_bytes_from_outside_are_read_strictly() -> None:
    fields = _native.decode(encode_record(header()))
    assert decode_record(_native.encode({**fields, "more": [1]})) == header()
    for key in fields:
        with pytest.raises(Malformed):
            decode_record(_native.encode({name: value for name, value in fields.items() if name != key}))
    for spoilt in (
        {"incarnation": [7, "nonce-of"]},
        {"federation": SOME.bytes},
        {"auth": {"credential": SOME}},
        {"v": True},
    ):
        with pytest.raises(Malformed):
            decode_record(_native.encode({**fields, **spoilt}))
    for data in (b"", b"\xf6", b"\x80", encode_record(header()) + b"\x00"):
        with pytest.raises(Malformed):
            decode_record(data)


def test_a_header_is_its_authors() -> None:
    envelope = seal(key_of("another"), Kind.RECORD, encode_record(header()))
    [refused] = open_records([envelope])
    assert isinstance(refused, Malformed)
    assert "not the one who signed" in refused.reason
    signed = signed_record(NODE, header())
    assert (signed.author, signed.id) == (NODE.peer_id, _native.cid(encode_record(header())))
    with pytest.raises(ValueError, match="the key is that of"):
        seal_record(key_of("another"), header())
    [wrong] = open_records([seal(NODE, Kind.MESSAGE, encode_record(header()))])
    assert isinstance(wrong, Malformed)


def test_a_log_is_a_type_an_author_and_an_incarnation() -> None:
    base = header().log
    assert base == log_id("governance.proposal", NODE.peer_id, Incarnation(7, b"nonce-of"))
    others = [
        header(type="governance.vote").log,
        header(author=key_of("another").peer_id).log,
        header(incarnation=Incarnation(7, b"other   ")).log,
    ]
    assert len({base, *others}) == 4
    assert header(key="another", seq=2, prev=SOME).log == base


def test_a_record_follows_the_one_that_it_names_and_no_other() -> None:
    first = signed_record(NODE, header())
    second = header(seq=2, prev=first.id)
    assert why_not_after(first.body, None) is None
    assert why_not_after(second, first) is None
    assert why_not_after(second, None) == "the record before it is not here"
    assert why_not_after(header(seq=2, prev=SOME), first) == "it names another record before it"
    assert "number 3" in str(why_not_after(header(seq=3, prev=first.id), first))
    for changes in ({"type": "a.b"}, {"federation": place_of(first).log}, {"incarnation": Incarnation(8, bytes(8))}):
        assert "another log" in str(why_not_after(msgspec.structs.replace(second, **changes), first))


def test_the_body_beside_a_header_is_the_one_that_it_names() -> None:
    body = decode_record_body(BODY, header())
    assert (body.salt, body.value) == (salt("body"), {"title": "Bake together"})
    for data, named in (
        (encode_record_body(salt("other"), {"title": "Bake together"}), header()),
        (BODY, header(size=1)),
        (BODY, header(op="delete", body=None, size=0)),
    ):
        with pytest.raises(Malformed, match="not the one"):
            decode_record_body(data, named)
    unfit: list[Any] = [{"salt": b"short", "value": 1}, {"value": 1}, {"salt": salt("a"), "value": 1, "more": 1}, []]
    for fields in unfit:
        data = _native.encode(fields)
        with pytest.raises(Malformed, match="record's body"):
            decode_record_body(data, header(body=_native.cid(data), size=len(data)))
    with pytest.raises(ValueError, match="16 bytes"):
        encode_record_body(b"short", 1)
