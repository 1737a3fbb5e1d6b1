"""THREATS.md, rows *messages*: bytes that are not what they must be, on the direct stream and over gossip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.adversarial import forgery
from tests.adversarial.attacker import Attacker
from tests.adversarial.conftest import Scene

from covm import _native
from covm.federation.dispatch.receiving import Receiver
from covm.federation.gossip.verdicts import Judge
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import Messages
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import decode_body, encode_body

SwitchOff = Callable[[str], None]

DEEP = b"\x81" * 40 + b"\x01"
_CID = b"\x00" + _native.cid(b"x").bytes + b"!"
LINK_AND_MORE = b"\xd8\x2a\x58" + bytes([len(_CID)]) + _CID

HOSTILE = {
    "a duplicate key": b"\xa2\x61a\x01\x61a\x02",
    "keys out of order": b"\xa2\x61b\x01\x61a\x02",
    "a long integer": b"\x18\x01",
    "a long length": b"\x78\x01a",
    "an integer of eight bytes": b"\x1b" + bytes(7) + b"\x01",
    "an indefinite list": b"\x9f\x01\xff",
    "an indefinite map": b"\xbf\x61a\x01\xff",
    "indefinite text": b"\x7f\x61a\xff",
    "a thousand levels": b"\x81" * 1000 + b"\x01",
    "forty levels": DEEP,
    "a long key": b"\xa1\x79\x01\x01" + b"k" * 257 + b"\x01",
    "a key that is no text": b"\xa1\x01\x01",
    "a list that says it has four milliards": b"\x9a\xff\xff\xff\xff",
    "65,537 entries": b"\x9a\x00\x01\x00\x01" + b"\x00" * 65_537,
    "text that says it has four GiB": b"\x7a\xff\xff\xff\xff",
    "a float": b"\xfb\x3f\xf0" + bytes(6),
    "undefined": b"\xf7",
    "a simple value": b"\xf8\xff",
    "a date's tag": b"\xc0\x61a",
    "a link that is none": b"\xd8\x2a\x41\x01",
    "text that is not UTF-8": b"\x62\xc3\x28",
    "a link with bytes after it": LINK_AND_MORE,
    "a lone break": b"\xff",
}

NO_TYPE_NAMES = ["", "note", "Garden.Note", "garden..note", ".note", "garden.note\n", "gärten.note", "a." + "b" * 127]


def bodies_that_are_none(attacker: Attacker, to: str | None) -> dict[str, bytes]:
    """Whole bodies, canonical or not, that are no message."""
    good = encode_body(attacker.note(to=to))
    fields = _native.decode(good)
    without = {key: value for key, value in fields.items() if key != "mid"}
    return {
        "nothing": b"",
        "a list": b"\x80",
        "a truncated body": good[:-1],
        "a body and more": good + b"\x00",
        "a body without an id": _native.encode(without),
        "an id as text": _native.encode({**fields, "mid": "AAAAAAAAAAAAAAAAAAAAAA=="}),
        "a short id": _native.encode({**fields, "mid": b"short"}),
        "a negative sequence": _native.encode({**fields, "seq": -1}),
        "a sequence beyond 63 bits": _native.encode({**fields, "seq": 2**63}),
        "another version": _native.encode({**fields, "v": 2}),
        "a federation as text": _native.encode({**fields, "federation": str(fields["federation"])}),
    } | {f"the type name {name!r}": _native.encode({**fields, "type": name}) for name in NO_TYPE_NAMES}


def in_parts(all_of_it: list[bytes], size: int) -> list[list[bytes]]:
    return [all_of_it[start : start + size] for start in range(0, len(all_of_it), size)]


async def say_directly(attacker: Attacker, scene: Scene, *envelopes: bytes) -> int:
    stream = await attacker.open(scene.victim)
    await attacker.say(stream, Messages(list(envelopes)))
    return stream


# --- deep nesting, long keys, duplicate keys, non-canonical or indefinite DAG-CBOR


async def test_hostile_dag_cbor_in_a_signed_envelope_is_rejected_over_gossip(scene: Scene) -> None:
    maker = await scene.attacker()
    bodies = [forgery.encoded_with(maker.note(), payload) for payload in HOSTILE.values()]
    bodies += bodies_that_are_none(maker, None).values()
    # Past some ten the core does not even read any more of it (see test_gossip), so each attacker says a few.
    for part in in_parts(bodies, 7):
        attacker = await scene.joined()
        before = scene.dropped("malformed_body")
        await attacker.publish(attacker.seal(*part))
        await scene.until_dropped("malformed_body", before + len(part))
    assert scene.heard == []
    assert {entry.reason for entry in scene.victim.gossip_log() if entry.verdict == "reject"} == {"malformed_body"}
    await scene.honest_is_heard()


async def test_hostile_dag_cbor_in_a_signed_envelope_is_refused_on_the_direct_stream(scene: Scene) -> None:
    to = scene.victim.peer_id
    maker = await scene.attacker("mallory")
    bodies = [forgery.encoded_with(maker.note(to=to), payload) for payload in HOSTILE.values()]
    bodies += bodies_that_are_none(maker, to).values()
    for count, part in enumerate(in_parts(bodies, 2)):
        attacker = await scene.joined()
        for position, body in enumerate(part, 1):
            stream = await say_directly(attacker, scene, *attacker.seal(body))
            await attacker.take("stream_closed", lambda which, _: which == stream)  # noqa: B023
            assert scene.dropped("malformed_body") == 2 * count + position
        assert scene.charged[attacker.peer_id] == len(part)
        await attacker.leave(scene.victim)
    assert scene.heard == []
    await scene.honest_is_heard()


@pytest.mark.parametrize("form", ["bytes after the body", "bytes after a link", "forty levels"])
async def test_without_strict_decoding_what_it_alone_refuses_would_reach_a_handler(
    scene: Scene, switch_off: SwitchOff, form: str
) -> None:
    """The other forms are refused twice: also by the decoder that builds values from what the strict one let pass."""
    switch_off("dagcbor_depth" if form == "forty levels" else "dagcbor_canonical")
    attacker = await scene.joined()
    payload = {"bytes after a link": LINK_AND_MORE, "forty levels": DEEP}.get(form, b"\x01")
    body = forgery.encoded_with(attacker.note(), payload) + (b"!" if form == "bytes after the body" else b"")
    await attacker.publish(attacker.seal(body))
    await scene.until(lambda: scene.heard)
    assert scene.heard[0].author == attacker.peer_id


# --- one byte flipped anywhere in an envelope, or the same envelope framed otherwise


def with_a_bit_flipped(envelope: bytes) -> list[bytes]:
    """Every envelope that differs in one bit."""
    return [
        envelope[:at] + bytes([envelope[at] ^ 1 << bit]) + envelope[at + 1 :]
        for at in range(len(envelope))
        for bit in range(8)
    ]


async def test_no_bit_of_an_envelope_can_be_changed(scene: Scene) -> None:
    envelope = (await scene.attacker()).sealed_note()
    assert forgery.opens(envelope)
    opened = _native.open_envelopes(Kind.MESSAGE.value, with_a_bit_flipped(envelope))
    assert [one for one in opened if not isinstance(one, str)] == []


async def test_without_the_signature_many_bits_of_an_envelope_could_be_changed(
    scene: Scene, switch_off: SwitchOff
) -> None:
    switch_off("envelope_signature")
    opened = _native.open_envelopes(Kind.MESSAGE.value, with_a_bit_flipped((await scene.attacker()).sealed_note()))
    assert len([one for one in opened if not isinstance(one, str)]) > len(opened) // 2


def changed_in(envelope: bytes, part: str) -> bytes:
    """The envelope with the last bit of one part flipped."""
    opened = forgery.Envelope.read(envelope)
    content: bytes = getattr(opened, part)
    return replace(opened, **{part: content[:-1] + bytes([content[-1] ^ 1])}).encode()


async def test_a_changed_envelope_is_refused_on_the_wire_and_its_carrier_charged(scene: Scene) -> None:
    attacker = await scene.joined()
    for count, part in enumerate(["key", "payload", "signature"], 1):
        await attacker.publish([changed_in(attacker.sealed_note(), part)])
        await scene.until(lambda: scene.dropped("bad_signature") + scene.dropped("key_type") == count)  # noqa: B023
    await say_directly(attacker, scene, changed_in(attacker.sealed_note(to=scene.victim.peer_id), "payload"))
    await scene.until_dropped("bad_envelope")
    assert scene.charged[attacker.peer_id] == 1
    assert scene.heard == []
    await scene.honest_is_heard()


async def test_the_same_envelope_framed_otherwise_is_refused(scene: Scene) -> None:
    attacker = await scene.joined()
    envelope = attacker.sealed_note("one message, one encoding")
    otherwise = forgery.reframings(envelope)
    await attacker.publish(otherwise.values())
    await scene.until(lambda: scene.dropped("not_canonical") + scene.dropped("bad_signature") == len(otherwise))
    assert scene.heard == []
    await attacker.publish([envelope])
    await scene.until(lambda: scene.heard_from(attacker) == ["one message, one encoding"])
    directly = forgery.reframings(attacker.sealed_note(to=scene.victim.peer_id))
    for name, reframed in directly.items():
        one = await scene.joined(name)
        await say_directly(one, scene, reframed)
        await scene.until(lambda: scene.charged[one.peer_id] == 1)  # noqa: B023
    assert scene.dropped("bad_envelope") == len(directly)
    await scene.honest_is_heard()


async def test_without_the_canonical_check_an_envelope_framed_otherwise_would_pass(
    scene: Scene, switch_off: SwitchOff
) -> None:
    switch_off("envelope_canonical")
    attacker = await scene.joined()
    reframed = forgery.reframings(attacker.sealed_note("in other bytes"))["an unknown field behind"]
    await attacker.publish([reframed])
    await scene.until(lambda: scene.heard_from(attacker) == ["in other bytes"])


# --- a valid envelope in another domain, kind, federation or place


def out_of_place(attacker: Attacker, to: str | None) -> dict[str, tuple[bytes, str]]:
    """Envelopes that would be right elsewhere, and why they are not here."""
    another = open_federation("another network").cid
    elsewhere = None if to is not None else attacker.peer_id
    plain = encode_body(attacker.note(to=to, seq=1))
    return {
        "domain": (forgery.sealed_elsewhere(attacker.seed, plain, domain=b"covm-federation-v2"), "bad_signature"),
        "kind": (attacker.seal(plain, kind="/covm/record")[0], "wrong_kind"),
        "federation": (attacker.sealed_note(to=to, seq=1, federation=another), "wrong_federation"),
        "place": (
            attacker.seal(encode_body(msgspec.structs.replace(attacker.note(to=to, seq=1), to=elsewhere)))[0],
            "addressed_to_one" if to is None else "wrong_recipient",
        ),
    }


async def test_a_valid_envelope_of_another_domain_kind_federation_or_place_is_rejected_over_gossip(
    scene: Scene,
) -> None:
    attacker = await scene.joined()
    envelopes = out_of_place(attacker, None)
    await attacker.publish([envelope for envelope, _ in envelopes.values()])
    for _, reason in envelopes.values():
        await scene.until_dropped(reason)
    assert scene.heard == []
    await scene.honest_is_heard()


async def test_a_valid_envelope_of_another_domain_kind_federation_or_place_is_refused_directly(scene: Scene) -> None:
    for name in ("domain", "kind", "federation", "place"):
        attacker = await scene.joined()
        envelope, reason = out_of_place(attacker, scene.victim.peer_id)[name]
        before = scene.dropped(said := "bad_envelope" if name in ("domain", "kind") else reason)
        await say_directly(attacker, scene, envelope)
        await scene.until_dropped(said, before + 1)
        assert scene.charged[attacker.peer_id] == 1
    assert scene.heard == []
    await scene.honest_is_heard()


@pytest.mark.parametrize("name", ["domain", "kind", "federation", "place"])
@pytest.mark.parametrize("way", ["gossip", "direct"])
async def test_without_the_check_the_same_envelope_would_pass(
    scene: Scene, switch_off: SwitchOff, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    if name in ("domain", "kind"):
        switch_off({"domain": "envelope_signature", "kind": "envelope_kind"}[name])
    else:
        believe_bodies(monkeypatch)
    attacker = await scene.joined()
    envelope, _ = out_of_place(attacker, scene.victim.peer_id if way == "direct" else None)[name]
    if way == "direct":
        await say_directly(attacker, scene, envelope)
    else:
        await attacker.publish([envelope])
    await scene.until(lambda: scene.heard_from(attacker))


def believe_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off what Python checks of a body against its envelope, its federation and its place."""
    monkeypatch.setattr(Judge, "_wrong_for_everyone", lambda judge, received, body: "")
    monkeypatch.setattr(Receiver, "_body_of", lambda receiver, opened: decode_body(opened.body))


# --- the author named in the body differs from the key that signed


async def test_nobody_speaks_in_another_members_name(scene: Scene) -> None:
    attacker, name = await scene.joined(), scene.honest.peer_id
    await attacker.publish([attacker.sealed_note("in your name", author=name)])
    await scene.until_dropped("author_mismatch")
    await say_directly(attacker, scene, attacker.sealed_note("in your name", author=name, to=scene.victim.peer_id))
    await scene.until_dropped("author_mismatch", 2)
    assert scene.charged[attacker.peer_id] == 1
    assert scene.heard == []
    await scene.honest_is_heard()


async def test_a_member_cannot_hand_over_what_another_wrote_to_a_third(scene: Scene) -> None:
    """A direct message travels from its author alone: who carries a copy of one is refused, valid as it is."""
    author, carrier = await scene.joined(), await scene.joined()
    await say_directly(carrier, scene, author.sealed_note(to=scene.victim.peer_id))
    await scene.until_dropped("author_mismatch")
    assert scene.charged == {carrier.peer_id: 1}
    assert scene.heard == []


@pytest.mark.parametrize("way", ["gossip", "direct"])
async def test_without_the_check_of_the_author_anyone_would_speak_in_anyones_name(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    believe_bodies(monkeypatch)
    attacker, name = await scene.joined(), scene.honest.peer_id
    to: dict[str, Any] = {"to": scene.victim.peer_id} if way == "direct" else {}
    envelope = attacker.sealed_note("in your name", author=name, **to)
    if way == "direct":
        await say_directly(attacker, scene, envelope)
    else:
        await attacker.publish([envelope])
    await scene.until(lambda: scene.heard_from(name) == ["in your name"])
