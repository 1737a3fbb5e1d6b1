"""What holds of the wire for every value: round trips, strictness, safe display."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from covm import _native
from covm.federation.clock import SeededRandom
from covm.federation.config import format_duration, parse_duration
from covm.federation.errors import InvalidMessage
from covm.federation.wire.display import shown
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import (
    Ack,
    Confirm,
    Hello,
    Messages,
    Outcome,
    Position,
    Proof,
    Prove,
    decode_frame,
    encode_frame,
)
from covm.federation.wire.incarnation import Incarnation, next_incarnation
from covm.federation.wire.join import JoinHello, decode_join_hello, encode_join_hello
from covm.federation.wire.limits import (
    MAX_BODY_OVERHEAD,
    MAX_INTEGER,
    MAX_PEER_ID,
    MAX_PROCESS,
    MAX_TIME_MS,
    MAX_TYPE_NAME,
)
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody, decode_body, encode_body, payload_size
from covm.federation.wire.names import check_type_name, is_type_name
from covm.federation.wire.registry import TypeRegistry
from covm.federation.wire.system import Heartbeat
from covm.governance import Proposal

FEDERATION = open_federation("covm").cid
counts = st.integers(0, MAX_INTEGER)
times = st.integers(0, MAX_TIME_MS)
peers = st.text("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", min_size=1, max_size=MAX_PEER_ID)
mids = st.binary(min_size=16, max_size=16)
incarnations = st.builds(Incarnation, counts, st.binary(min_size=8, max_size=8))
type_names = st.from_regex(r"[a-z][a-z0-9_]{0,30}(\.[a-z][a-z0-9_]{0,30}){1,3}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts | st.binary(max_size=50) | st.just(FEDERATION),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
bodies = st.builds(
    MessageBody,
    federation=st.just(FEDERATION),
    type=type_names,
    author=peers,
    incarnation=incarnations,
    seq=counts,
    mid=mids,
    to=st.none() | peers,
    sent_at=times,
    expires_at=st.none() | times,
    payload=plain,
)
near_integers = st.sampled_from([-(2**63), -1, 0, 1, MAX_TIME_MS, MAX_TIME_MS + 1, MAX_INTEGER, MAX_INTEGER + 1])
near_binaries = st.sampled_from([bytes(size) for size in (0, 7, 8, 9, 15, 16, 17, 31, 32, 33)])
near_peers = st.sampled_from(["", "a", "a" * MAX_PEER_ID, "a" * (MAX_PEER_ID + 1)])
loose_bodies = st.builds(
    MessageBody,
    federation=st.just(FEDERATION),
    type=type_names | st.sampled_from(["", "one", "A.b", "a." + "b" * MAX_TYPE_NAME]),
    author=peers | near_peers,
    incarnation=incarnations | st.builds(Incarnation, near_integers, near_binaries),
    seq=counts | near_integers,
    mid=mids | near_binaries,
    to=st.none() | peers | near_peers,
    sent_at=times | near_integers,
    expires_at=st.none() | times | near_integers,
    payload=plain,
    v=st.sampled_from([1, 1, 1, 2]),
)
loose_outcomes = st.lists(
    st.builds(
        Outcome, near_integers, near_integers, near_integers, near_binaries, st.sampled_from(["", "handled", "x" * 33])
    ),
    max_size=1,
)
loose_frames = (
    st.builds(Heartbeat, sequence=near_integers, sent_at=near_integers, received_at=st.none() | near_integers)
    | st.builds(Ack, upto=st.none() | st.builds(Position, near_integers, near_binaries), outcomes=loose_outcomes)
    | st.builds(Messages, st.sampled_from([[], [b""], [b""] * 4096, [b""] * 4097]))
)
positions = st.builds(Position, counts, mids)
outcomes = st.lists(
    st.builds(Outcome, counts, counts, counts, mids, st.sampled_from(["handled", "failed", "later"]), texts), max_size=3
)
frames = (
    st.builds(Messages, st.lists(st.binary(max_size=100), min_size=1, max_size=5))
    | st.builds(Ack, upto=st.none() | positions, outcomes=outcomes)
    | st.builds(
        Hello,
        v=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
        incarnation=incarnations,
        types=st.binary(min_size=32, max_size=32),
        next=st.none() | counts,
        acked=st.none() | positions,
        outcomes_upto=counts,
        stored=st.none() | positions,
        newer=st.none() | incarnations,
        outcomes=outcomes,
    )
    | st.builds(Confirm, counts)
    | st.builds(Prove, incarnations)
    | st.builds(Proof, incarnation=incarnations, envelope=st.none() | st.binary(max_size=100))
)


@given(bodies)
def test_every_body_comes_back_and_has_one_form(body: MessageBody) -> None:
    data = encode_body(body)
    assert decode_body(data) == body
    assert encode_body(decode_body(data)) == data


@given(loose_bodies)
def test_every_body_that_encodes_also_decodes(body: MessageBody) -> None:
    try:
        data = encode_body(body)
    except InvalidMessage:
        return
    assert decode_body(data) == body


@given(loose_frames)
def test_every_frame_that_encodes_also_decodes(frame: Any) -> None:
    try:
        data = encode_frame(frame)
    except ValueError:
        return
    assert decode_frame(data) == frame


@given(bodies, st.data())
def test_a_damaged_body_is_refused_or_is_another_body_and_nothing_else_happens(
    body: MessageBody, data: st.DataObject
) -> None:
    encoded = bytearray(encode_body(body))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    damaged = bytes(encoded)
    try:
        read = decode_body(damaged)
    except Malformed:
        return
    assert read != body
    assert encode_body(read) == damaged


@given(bodies, st.data())
def test_a_body_cut_short_or_run_on_is_refused(body: MessageBody, data: st.DataObject) -> None:
    encoded = encode_body(body)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    for wrong in (encoded[:cut], encoded + encoded[:1], encoded[cut:] if cut else b""):
        try:
            decode_body(wrong)
        except Malformed:
            continue
        raise AssertionError(f"{wrong.hex()} was read as a body")


@given(st.binary(max_size=200))
@example(b"\xa1\x61v\x01")
def test_arbitrary_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    for decode in (decode_body, decode_frame, decode_join_hello):
        try:
            decode(data)
        except Malformed:
            continue


@given(st.dictionaries(st.sampled_from(["t", "v", "body", "envelopes", "upto", "outcomes", "incarnation"]), plain))
@example({"t": "hello"})
def test_any_map_in_place_of_a_frame_raises_nothing_but_malformed(fields: dict[str, Any]) -> None:
    for kind in ("hello", "messages", "ack", "heartbeat", "peer_info", "peer_hints", fields.get("t")):
        try:
            decode_frame(_native.encode({**fields, "t": kind}))
        except Malformed:
            continue


@given(bodies, st.sampled_from(MessageBody.__struct_fields__[:-1]), plain)
def test_any_value_in_place_of_a_field_raises_nothing_but_malformed(body: MessageBody, field: str, value: Any) -> None:
    fields = _native.decode(encode_body(body))
    assert isinstance(fields, dict)
    data = _native.encode(fields | {field: value})
    try:
        read = decode_body(data)
    except Malformed:
        return
    assert encode_body(read) == data


@given(bodies)
def test_a_body_adds_no_more_than_its_overhead(body: MessageBody) -> None:
    assert len(encode_body(body)) <= payload_size(body.payload) + MAX_BODY_OVERHEAD


@given(frames)
def test_every_frame_comes_back(frame: Any) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@given(st.text(max_size=64), st.text(max_size=64), st.binary(max_size=MAX_PROCESS))
def test_every_hello_comes_back(agent: str, name: str, process: bytes) -> None:
    hello = JoinHello(federation=FEDERATION, agent=agent, name=name, process=process)
    assert decode_join_hello(encode_join_hello(hello)) == hello


@given(st.dictionaries(st.sampled_from([*Proposal.__struct_fields__, "later"]), plain))
def test_any_payload_is_a_proposal_or_an_invalid_message_with_a_path(payload: dict[str, Any]) -> None:
    registry = TypeRegistry([Proposal])
    try:
        proposal = registry.from_payload("governance.proposal", payload)
    except InvalidMessage as error:
        path = error.path
    else:
        assert isinstance(proposal, Proposal)
        path = "payload"
    assert path.startswith("payload")


@given(st.text(max_size=MAX_TYPE_NAME + 5))
def test_a_name_is_a_type_name_or_refused(text: str) -> None:
    try:
        name = check_type_name(text)
    except InvalidMessage:
        return
    assert is_type_name(name)
    assert name == text.lower()


@given(counts, st.integers(-1, MAX_INTEGER - 1), st.integers())
def test_a_new_life_is_above_every_earlier_one(now_ms: int, last: int, seed: int) -> None:
    assert next_incarnation(now_ms, last, SeededRandom(seed)).number > last


@given(st.timedeltas().map(lambda duration: duration - duration % parse_duration("1ms")))
def test_every_duration_is_read_as_it_is_written(duration: Any) -> None:
    text = format_duration(duration)
    assert parse_duration(text.removeprefix("-")) == abs(duration)


ACTING = {"Cc", "Cs", "Cf", "Zl", "Zp", "Co", "Cn"}
JOINERS = "\u200c\u200d"


@given(st.text(), st.booleans())
@example("\u202e\u200d\u2066é\u200c\u200d", False)
def test_nothing_shown_acts_on_what_is_around_it(text: str, lines: bool) -> None:
    safe = shown(text, lines=lines)
    allowed = JOINERS + "\n" if lines else JOINERS
    assert not [
        character for character in safe if unicodedata.category(character) in ACTING and character not in allowed
    ]
    assert safe.count("\n") <= text.count("\n")


@given(st.text(), st.integers(1, 20))
def test_what_is_shown_keeps_to_its_limit(text: str, limit: int) -> None:
    safe = shown(text, limit=limit)
    assert len(safe) <= limit
    if len(shown(text)) <= limit:
        assert safe == shown(text)
