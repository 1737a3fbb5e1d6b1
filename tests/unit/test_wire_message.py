"""The signed body: one form, read strictly; what does not fit is refused before anything trusts it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from covm import _native
from covm.federation.errors import InvalidMessage, MessageTooLarge
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_BODY_OVERHEAD, MAX_GOSSIP_BODY, MAX_TIME_MS, clamped_ms
from covm.federation.wire.message import Malformed, MessageBody, decode_body, encode_body, payload_size
from covm.federation.wire.received import received

PEER = "12D3KooWH3uVF6wv47WnArKHk5p6cvgCJEb74UTmxztmQDc298L3"


def body(payload: Any = None, **changes: Any) -> MessageBody:
    fields: dict[str, Any] = {
        "federation": open_federation("covm").cid,
        "type": "private.message",
        "author": PEER,
        "incarnation": Incarnation(7, b"nonce-of"),
        "seq": 1,
        "mid": b"sixteen bytes id",
        "to": None,
        "sent_at": 1_763_812_800_000,
        "expires_at": None,
        "payload": payload,
    }
    return MessageBody(**(fields | changes))


def fields_of(message: MessageBody) -> dict[str, Any]:
    fields = _native.decode(encode_body(message))
    assert isinstance(fields, dict)
    return fields


def test_a_body_comes_back_as_it_was_sent() -> None:
    sent = body({"text": "hello", "bytes": b"\x00", "list": [1, None, True]}, to=PEER, expires_at=MAX_TIME_MS)
    assert decode_body(encode_body(sent)) == sent


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"expires_at": MAX_TIME_MS + 1}, "expires_at"),
        ({"expires_at": -1}, "expires_at"),
        ({"sent_at": -1}, "sent_at"),
        ({"sent_at": MAX_TIME_MS + 1}, "sent_at"),
        ({"seq": 2**63}, "seq"),
        ({"mid": b"short"}, "mid"),
        ({"to": ""}, "to"),
        ({"author": "a" * 65}, "author"),
        ({"type": "Not.A.Name"}, "type"),
        ({"v": 2}, "v"),
        ({"incarnation": Incarnation(-1, bytes(8))}, "incarnation[0]"),
        ({"incarnation": Incarnation(1, bytes(9))}, "incarnation[1]"),
    ],
)
def test_what_every_receiver_would_refuse_is_not_encoded(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        encode_body(body(None, **changes))
    assert caught.value.path == path


def test_a_time_out_of_bounds_travels_as_the_nearest_that_may() -> None:
    assert [clamped_ms(time_ms) for time_ms in (-5, 7, MAX_TIME_MS + 5)] == [0, 7, MAX_TIME_MS]


def test_a_float_is_refused_with_its_path() -> None:
    with pytest.raises(InvalidMessage, match="floats") as caught:
        encode_body(body({"lines": [{"price": 1}, {"price": 2.5}]}))
    assert caught.value.path == "payload.lines[1].price"
    assert caught.value.type == "private.message"


@pytest.mark.parametrize("payload", [{1: "one"}, {"when": datetime(2030, 1, 1, tzinfo=UTC)}, {1, 2}, 2**64])
def test_what_has_no_signed_form_is_refused(payload: object) -> None:
    with pytest.raises(InvalidMessage):
        encode_body(body(payload))


def test_a_payload_of_exactly_the_limit_goes_and_one_byte_more_does_not() -> None:
    text = "x" * (MAX_GOSSIP_BODY - 3)
    assert payload_size(text) == MAX_GOSSIP_BODY
    assert len(encode_body(body(text), MAX_GOSSIP_BODY)) <= MAX_GOSSIP_BODY + MAX_BODY_OVERHEAD
    with pytest.raises(MessageTooLarge) as caught:
        encode_body(body(text + "x"), MAX_GOSSIP_BODY)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (MAX_GOSSIP_BODY + 1, MAX_GOSSIP_BODY)


def test_a_payload_larger_than_the_codec_takes_is_told_with_its_size() -> None:
    half = b"x" * 1_500_000
    with pytest.raises(MessageTooLarge) as caught:
        encode_body(body({"a": half, "b": [half, "y" * 3_000_000]}))
    assert caught.value.size_bytes == 1 + 2 + 5 + 1_500_000 + 2 + 1 + 5 + 1_500_000 + 5 + 3_000_000


def test_a_float_in_a_payload_that_is_too_large_as_well_is_still_no_surprise() -> None:
    with pytest.raises((InvalidMessage, MessageTooLarge)):
        encode_body(body(["x" * 3_000_000, 1.5]))


def test_unknown_keys_are_kept_so_that_the_body_encodes_to_the_same_bytes() -> None:
    data = _native.encode({**fields_of(body("hi")), "extra": 1, "later": [2]})
    read = decode_body(data)
    assert read.extra == {"extra": 1, "later": [2]}
    assert read.payload == "hi"
    assert encode_body(read) == data


WRONG: list[dict[str, Any]] = [
    {"v": 2},
    {"v": True},
    {"v": "1"},
    {"federation": b"bytes"},
    {"federation": "bafyreide6elfmb35womupjlxppmu74tozf5un4islm4rsljmvmkfvwiusi"},
    {"type": "Governance.Proposal"},
    {"type": "nodots"},
    {"type": "a." + "b" * 127},
    {"type": None},
    {"author": ""},
    {"author": "x" * 65},
    {"author": b"x"},
    {"incarnation": [1]},
    {"incarnation": [1, b"nonce-of", 2]},
    {"incarnation": [-1, b"nonce-of"]},
    {"incarnation": [2**63, b"nonce-of"]},
    {"incarnation": [1, b"short"]},
    {"incarnation": [1, "bm9uY2Utb2Y="]},
    {"incarnation": {"number": 1}},
    {"seq": -1},
    {"seq": 2**63},
    {"seq": True},
    {"mid": b"short"},
    {"mid": b"x" * 17},
    {"mid": "c2l4dGVlbiBieXRlcyBpZA=="},
    {"to": 5},
    {"to": "x" * 65},
    {"sent_at": -1},
    {"sent_at": MAX_TIME_MS + 1},
    {"expires_at": "later"},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_field_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    data = _native.encode(fields_of(body()) | change)
    with pytest.raises(Malformed) as caught:
        decode_body(data)
    assert caught.value.reason


@pytest.mark.parametrize("missing", sorted(fields_of(body())))
def test_a_missing_field_is_refused_even_if_another_takes_its_place(missing: str) -> None:
    fields = fields_of(body())
    del fields[missing]
    for replacement in ({}, {"extra": 1}):
        with pytest.raises(Malformed):
            decode_body(_native.encode(fields | replacement))


def test_another_version_is_refused_naming_both() -> None:
    with pytest.raises(Malformed, match="version 2; this node reads version 1"):
        decode_body(_native.encode(fields_of(body()) | {"v": 2}))


@pytest.mark.parametrize("data", [b"", b"\xf6", b"\x80", b"\xff", b"\xa0", b"\xbf\xff"])
def test_bytes_that_are_no_body_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_body(data)


def test_a_received_message_shows_what_the_body_says() -> None:
    message = received(body(to=PEER), "hello", "direct")
    assert message.id == b"sixteen bytes id".hex()
    assert (message.author, message.to, message.via, message.attempt, message.member) == (PEER, PEER, "direct", 1, None)
    assert message.sent_at == datetime(2025, 11, 22, 12, tzinfo=UTC)
    assert message.payload == "hello"


def test_every_time_that_decodes_can_be_shown() -> None:
    assert received(body(sent_at=MAX_TIME_MS), None, "gossip").sent_at.year == 9999


def test_a_received_message_does_not_change() -> None:
    message = received(body(), None, "local")
    with pytest.raises(AttributeError):
        message.author = "someone else"  # type: ignore[misc]
    assert msgspec.structs.replace(message, attempt=2).attempt == 2
