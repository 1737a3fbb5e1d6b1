"""Frames and greetings that no honest node sends: no crash, counted, charged to who sent them, and honest traffic on.

THREATS.md, rows *messages*, as far as Python decides: sizes and deadlines of raw streams are the core's, tested there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.adversarial.attacker import Attacker
from tests.adversarial.conftest import Scene
from tests.adversarial.gullible import take_everything

from covm import _native
from covm.cli.output import safe
from covm.federation.dispatch import receiving
from covm.federation.errors import NotAdmitted
from covm.federation.wire import join
from covm.federation.wire.frames import Ack, Confirm, Messages, Prove, decode_frame, encode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.skip import SKIP_TYPE
from covm.federation.wire.system import Heartbeat, PeerInfo

ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202eevil\u2066\r\n../../etc<b>"
"""Clears the screen, sets the title, turns the text around, begins a line of its own."""

HEARTBEAT = Heartbeat(sequence=0, sent_at=0)
INFO = {"name": "m", "version": "1", "addresses": [], "capabilities": [], "types_digest": bytes(32), "protocol": [1, 0]}


def info(**changes: Any) -> bytes:
    return _native.encode({"t": "peer_info", "body": {**INFO, **changes}})


def raw(**fields: Any) -> bytes:
    return _native.encode(fields)


def hello(attacker: Attacker, **changes: Any) -> bytes:
    fields: dict[str, Any] = _native.decode(encode_frame(attacker.hello()))
    return _native.encode({**fields, **changes})


def messages(attacker: Attacker, *seqs: int, to: str = "", **changes: Any) -> Messages:
    return Messages([attacker.sealed_note(f"number {seq}", to=to, seq=seq, **changes) for seq in seqs])


def skip(attacker: Attacker, seq: int, upto: Any, to: str) -> Messages:
    return Messages([attacker.sealed_note({"upto": upto}, to=to, seq=seq, type=SKIP_TYPE)])


Said = Callable[[Attacker, str], list[Any]]

# What the attacker says on a stream of its own, from its first frame on, and what the victim counts it as.
SPOILT: dict[str, tuple[str, Said]] = {
    "no CBOR": ("malformed_frame", lambda a, to: [b"\xff\xff\xff"]),
    "not a map": ("malformed_frame", lambda a, to: [b"\x80"]),
    "no kind": ("malformed_frame", lambda a, to: [raw(x=1)]),
    "a kind that is no text": ("malformed_frame", lambda a, to: [raw(t=1)]),
    "a truncated HELLO": ("malformed_frame", lambda a, to: [hello(a)[:-1]]),
    "a HELLO without an incarnation": ("malformed_frame", lambda a, to: [raw(t="hello", v=[1, 0], types=bytes(32))]),
    "a HELLO with three version parts": ("malformed_frame", lambda a, to: [hello(a, v=[1, 0, 0])]),
    "a HELLO with a nonce as text": ("malformed_frame", lambda a, to: [hello(a, incarnation=[1, "AAAAAAAAAAA="])]),
    "a HELLO that begins below zero": ("malformed_frame", lambda a, to: [hello(a, next=-1)]),
    "a HELLO of another major version": ("unknown_version", lambda a, to: [a.hello(v=(2, 0))]),
    "messages before HELLO": ("frame_before_hello", lambda a, to: [messages(a, 1, to=to)]),
    "an acknowledgement before HELLO": ("frame_before_hello", lambda a, to: [Ack()]),
    "a heartbeat before HELLO": ("frame_before_hello", lambda a, to: [HEARTBEAT]),
    "an unknown frame before HELLO": ("frame_before_hello", lambda a, to: [raw(t="tea")]),
    "two HELLOs": ("second_hello", lambda a, to: [a.hello(), a.hello()]),
    "no envelopes": ("malformed_frame", lambda a, to: [a.hello(), raw(t="messages", envelopes=[])]),
    "4,097 envelopes": ("malformed_frame", lambda a, to: [a.hello(), raw(t="messages", envelopes=[b""] * 4097)]),
    "envelopes as text": ("malformed_frame", lambda a, to: [a.hello(), raw(t="messages", envelopes=["AAAA"])]),
    "an empty envelope": ("bad_envelope", lambda a, to: [a.hello(), Messages([b""])]),
    "a number left out": ("sequence_gap", lambda a, to: [a.hello(), messages(a, 2, to=to)]),
    "the last number there is": ("sequence_gap", lambda a, to: [a.hello(), messages(a, 2**63 - 1, to=to)]),
    "messages of another incarnation": (
        "wrong_incarnation",
        lambda a, to: [a.hello(), messages(a, 1, to=to, incarnation=Incarnation(2, bytes(8)))],
    ),
    "a confirmation of outcomes that were never told": (
        "confirm_of_untold",
        lambda a, to: [a.hello(), Confirm(2**63 - 1)],
    ),
    "a HELLO that knows outcomes without end": ("outcomes_upto_too_high", lambda a, to: [a.hello(outcomes_upto=2**62)]),
    "questions for proofs without end": (
        "too_many_proofs",
        lambda a, to: [a.hello(), *[Prove(incarnation=a.life)] * 1_000],
    ),
    "a skip that does not say up to where": ("malformed_skip", lambda a, to: [a.hello(), skip(a, 1, None, to)]),
    "a skip that ends before it begins": ("malformed_skip", lambda a, to: [a.hello(), skip(a, 1, 0, to)]),
    "a skip up to a text": ("malformed_skip", lambda a, to: [a.hello(), skip(a, 1, "1", to)]),
    "a skip beyond 63 bits": ("malformed_skip", lambda a, to: [a.hello(), skip(a, 1, 2**63, to)]),
    "a skip that leaves a gap": ("sequence_gap", lambda a, to: [a.hello(), skip(a, 2, 9, to)]),
    "a name of a million characters": ("malformed_frame", lambda a, to: [a.hello(), info(name="m" * 1_000_000)]),
    "a name of 65 characters": ("malformed_frame", lambda a, to: [a.hello(), info(name="m" * 65)]),
    "a version of 65 characters": ("malformed_frame", lambda a, to: [a.hello(), info(version="m" * 65)]),
    "33 addresses": ("malformed_frame", lambda a, to: [a.hello(), info(addresses=["/ip4/127.0.0.1/tcp/1"] * 33)]),
    "an address of 257 characters": ("malformed_frame", lambda a, to: [a.hello(), info(addresses=["/" * 257])]),
    "a load above all": ("malformed_frame", lambda a, to: [
        a.hello(), raw(t="heartbeat", body={"sequence": 0, "sent_at": 0, "load": 1001})
    ]),
}  # fmt: skip


@pytest.mark.parametrize("attack", SPOILT)
async def test_a_stream_that_no_honest_node_would_speak_on_is_closed_counted_and_charged(
    scene: Scene, attack: str
) -> None:
    attacker = await scene.joined()
    reason, make = SPOILT[attack]
    stream = await attacker.open(scene.victim, greets=False)
    await attacker.say(stream, *make(attacker, scene.victim.peer_id))
    await attacker.take("stream_closed", lambda which, _: which == stream)
    assert scene.victim.stats()["dropped"] == {reason: 1}
    assert scene.charged == {attacker.peer_id: 1}
    assert scene.heard == []
    await scene.honest_is_heard()


HALVES: dict[str, tuple[str, Said]] = {
    "messages": ("message_on_acknowledging_half", lambda a, to: [messages(a, 1, to=to)]),
    "a second HELLO": ("second_hello", lambda a, to: [a.hello()]),
    "nonsense": ("malformed_frame", lambda a, to: [b"\xff\xff\xff"]),
}


@pytest.mark.parametrize("attack", HALVES)
async def test_nonsense_on_the_acknowledging_half_is_counted_and_charged(scene: Scene, attack: str) -> None:
    attacker, _, stream = await scene.trusted()
    reason, make = HALVES[attack]
    await attacker.say(stream, *make(attacker, scene.victim.peer_id))
    await scene.until_dropped(reason)
    assert scene.charged == {attacker.peer_id: 1}
    assert scene.heard == []
    await scene.honest_is_heard()


async def test_every_truncation_of_a_frame_is_refused(scene: Scene) -> None:
    attacker = await scene.attacker()
    whole = encode_frame(messages(attacker, 1, to=scene.victim.peer_id))
    for length in range(len(whole)):
        with pytest.raises(Malformed):
            decode_frame(whole[:length])


async def test_frames_of_an_unknown_kind_and_unknown_fields_are_ignored_and_cost_nothing(scene: Scene) -> None:
    """A newer node may say more than this one knows."""
    attacker, to = await scene.joined(), scene.victim.peer_id
    stream = await attacker.open(scene.victim, greets=False)
    await attacker.say(stream, hello(attacker, since="tomorrow"), raw(t="tea", sugar=2), raw(t="t" * 1000))
    await attacker.say(stream, messages(attacker, 1, to=to))
    await scene.until(lambda: scene.heard_from(attacker) == ["number 1"])
    assert not scene.charged
    assert scene.victim.stats()["dropped"] == {}


async def test_a_gap_loses_nothing_that_came_before_it_and_brings_nothing_after_it(scene: Scene) -> None:
    attacker, to = await scene.joined(), scene.victim.peer_id
    stream = await attacker.open(scene.victim)
    await attacker.say(stream, messages(attacker, 1, 2, 4, 5, to=to))
    await scene.until_dropped("sequence_gap")
    assert scene.heard_from(attacker) == ["number 1", "number 2"]
    assert scene.charged == {attacker.peer_id: 1}


async def test_without_the_inbox_a_gap_would_go_unnoticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    take_everything(monkeypatch)
    attacker, to = await scene.joined(), scene.victim.peer_id
    await attacker.say(await attacker.open(scene.victim), messages(attacker, 1, 2, 4, 5, to=to))
    await scene.until(lambda: len(scene.heard_from(attacker)) == 4)


async def test_a_skip_of_what_is_stored_changes_nothing_and_one_to_the_end_ends_its_own_sequence(scene: Scene) -> None:
    attacker, to = await scene.joined(), scene.victim.peer_id
    stream = await attacker.open(scene.victim)
    await attacker.say(stream, messages(attacker, 1, 2, to=to), skip(attacker, 1, 2, to), messages(attacker, 3, to=to))
    await scene.until(lambda: scene.heard_from(attacker) == ["number 1", "number 2", "number 3"])
    assert scene.dropped("resent") == 1
    await attacker.say(stream, skip(attacker, 2, 2**63 - 1, to), messages(attacker, 4, to=to))
    await scene.until_dropped("resent", 2)
    assert scene.heard_from(attacker) == ["number 1", "number 2", "number 3"]
    assert not scene.charged
    await scene.honest_is_heard()


async def spoil_streams(attacker: Attacker, scene: Scene, count: int) -> None:
    for _ in range(count):
        stream = await attacker.open(scene.victim, greets=False)
        await attacker.say(stream, b"\xff\xff\xff")
        await attacker.take("stream_closed", lambda which, _: which == stream)  # noqa: B023


async def test_a_peer_that_goes_on_breaking_the_protocol_is_disconnected(scene: Scene) -> None:
    attacker = await scene.joined()
    await spoil_streams(attacker, scene, receiving.MAX_VIOLATIONS)
    await attacker.take("unadmitted")
    assert scene.dropped("malformed_frame") == scene.charged[attacker.peer_id] == receiving.MAX_VIOLATIONS
    await scene.honest_is_heard()


async def test_without_patience_running_out_it_would_stay(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_VIOLATIONS", 1_000)
    attacker = await scene.joined()
    await spoil_streams(attacker, scene, 20)
    assert scene.dropped("malformed_frame") == 20
    assert not [event for event in attacker.events if event[0] == "unadmitted"]


# --- the join exchange: HELLO to strangers


def greeting(scene: Scene, **changes: Any) -> bytes:
    fields = {"v": [1, 0], "federation": scene.victim.federation_id.cid, "agent": "a", "name": "n"}
    return _native.encode({**fields, **changes})


GREETINGS: dict[str, tuple[str, Callable[[Scene], bytes]]] = {
    "another major version": ("you speak version 2.0, this node 1.0", lambda s: greeting(s, v=[2, 0])),
    "another federation": ("another federation", lambda s: greeting(s, federation=_native.cid(b"another"))),
    "a federation as text": ("cannot be read", lambda s: greeting(s, federation="bafy")),
    "no federation": ("cannot be read", lambda s: raw(v=[1, 0])),
    "nonsense": ("cannot be read", lambda s: b"\xff" * 4000),
    "a list in a list in a list": ("cannot be read", lambda s: b"\x81" * 4000),
    "a name of 65 characters": ("cannot be read", lambda s: greeting(s, name="m" * 65)),
    "a name of 4,000 characters": ("cannot be read", lambda s: greeting(s, name="m" * 3_900)),
    "an agent of 65 characters": ("cannot be read", lambda s: greeting(s, agent="m" * 65)),
    "a name that is bytes": ("cannot be read", lambda s: greeting(s, name=b"mallory")),
    "bytes behind it": ("cannot be read", lambda s: greeting(s) + b"\x00"),
}


@pytest.mark.parametrize("attack", GREETINGS)
async def test_a_stranger_whose_hello_does_not_do_is_refused_with_the_reason(scene: Scene, attack: str) -> None:
    why, make = GREETINGS[attack]
    attacker = await scene.attacker(hello=make(scene))
    await attacker.dial(scene.victim)
    _, _, reason = await attacker.take("refused")
    assert why in reason
    await attacker.take("closed")
    assert attacker.peer_id not in scene.victim.connected_peers()
    assert scene.dropped("malformed_hello") == (why == "cannot be read")
    await scene.honest_is_heard()


async def test_without_the_check_another_federation_would_be_let_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "refusal", lambda ours, theirs: None)
    attacker = await scene.attacker(hello=greeting(scene, federation=_native.cid(b"another")))
    await attacker.join(scene.victim)


# --- hostile text in names


async def test_hostile_text_in_names_is_never_shown_as_it_is(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "covm")
    name = ESCAPES[:64]
    attacker = await scene.attacker(hello=greeting(scene, name=name, agent=name))
    await attacker.join(scene.victim)
    stream, theirs = await attacker.open(scene.victim), await attacker.stream_from(scene.victim)
    hostile = PeerInfo(name=name, version=name, addresses=[name], capabilities=[name], types_digest=bytes(32))
    await attacker.say(stream, hostile, messages(attacker, 1, to=scene.victim.peer_id))
    await scene.until(lambda: scene.heard_from(attacker))
    await attacker.say(theirs, hostile, b"\xff")
    await scene.until_dropped("malformed_frame")
    status = scene.victim.get_peer_info(attacker.peer_id)
    assert status.name == name, "a program gets it as it is"
    assert not [address for address in status.addresses if "evil" in address]
    shown = [safe(text) for text in (status.name, status.version, status.agent, status.why)]
    for text in [*shown, caplog.text]:
        assert not set(text.replace("\n", "")) & set("\x1b\x07\u202e\u2066\r")
    assert set(status.name) & set("\x1b\x07\u202e\u2066\r"), "without `safe` they would reach the terminal"


async def test_hostile_text_in_a_refusal_is_escaped(scene: Scene) -> None:
    """A reason that another node gives is shown to our operator."""
    attacker = await scene.attacker()
    attacker.refuses = ESCAPES
    await attacker.listen()
    with pytest.raises(NotAdmitted) as refused:
        await scene.victim.connect_peer(attacker.address)
    assert "evil" in str(refused.value)
    assert not set(str(refused.value)) & set("\x1b\x07\u202e\u2066\r\n")
