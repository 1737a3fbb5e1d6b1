"""THREATS.md, row *messages: acknowledgement forged, for another's message, of an acknowledgement, of what was never
sent*: each is ignored and charged; no receipt moves, and the sender never begins a new incarnation.

And the one claim that must be believed: an envelope that the sender itself signed, and of which it knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import PATIENCE, Scene
from tests.adversarial.gullible import believe_proofs

from covm.federation import Receipt
from covm.federation.dispatch.hearing import Hearing
from covm.federation.dispatch.outbox import Flight, Place
from covm.federation.dispatch.receiving import Receiver
from covm.federation.dispatch.standing import BACKWARDS
from covm.federation.events import RolledBack
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import Ack, Confirm, Hello, Outcome, Position, Proof, Prove, decode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, encode_body
from covm.federation.wire.skip import is_skip

FUTURE = 2**63 - 1
NOBODYS = b"of no message..."
ELSEWHERE = open_federation("another network").cid

Lie = Callable[[MessageBody, MessageBody], Ack]


def said(seq: int, mid: bytes, state: str, *, first: int | None = None, number: int = 1) -> Outcome:
    return Outcome(number, seq if first is None else first, seq, mid, state)


# Lies about two messages to the liar that nobody has acknowledged yet, and what the victim counts each as. The second
# message of a lie is one that the victim sent to somebody else; it has the number of the liar's first, and another id.
LIES: dict[str, tuple[str, Lie]] = {
    "forged": ("ack_forged", lambda mine, others: Ack(upto=Position(mine.seq, NOBODYS))),
    "for another's message": ("ack_forged", lambda mine, others: Ack(upto=Position(others.seq, others.mid))),
    "of another's message by its place": (
        "ack_of_unsent",
        lambda mine, others: Ack(upto=Position(mine.seq + 7, others.mid)),
    ),
    "of what was never sent": ("ack_of_unsent", lambda mine, others: Ack(upto=Position(mine.seq + 2, NOBODYS))),
    "from the future": ("ack_of_unsent", lambda mine, others: Ack(upto=Position(FUTURE, mine.mid))),
    "an outcome before it is stored": (
        "outcome_of_unsent",
        lambda mine, others: Ack(outcomes=[said(mine.seq, mine.mid, "handled")]),
    ),
    "an outcome of what was never sent": (
        "outcome_of_unsent",
        lambda mine, others: Ack(outcomes=[said(FUTURE, NOBODYS, "refused")]),
    ),
    "an outcome of more than is stored": (
        "outcome_of_unsent",
        lambda mine, others: Ack(outcomes=[said(FUTURE, NOBODYS, "handled", first=1)]),
    ),
    "an outcome of number zero": (
        "outcome_of_unsent",
        lambda mine, others: Ack(outcomes=[said(0, NOBODYS, "handled")]),
    ),
}


class Correspondence:
    """A victim that has written to a liar, and to an honest node as well."""

    def __init__(self, scene: Scene, liar: Attacker, stream: int, receipts: list[Receipt]) -> None:
        self.scene = scene
        self.liar = liar
        self.stream = stream
        self.receipts = receipts
        self.bodies: list[MessageBody] = []
        self.envelopes: list[bytes] = []

    @property
    def states(self) -> list[str]:
        return [receipt.state for receipt in self.receipts]

    async def lie(self, ack: Ack) -> None:
        await self.liar.say(self.stream, ack)

    async def collect(self, count: int) -> None:
        while len(self.bodies) < count:
            self.bodies += await self.liar.received(self.stream, self.envelopes)


async def correspondence(scene: Scene) -> tuple[Correspondence, MessageBody]:
    """The victim's two messages to a liar, unacknowledged; and one of its messages to the honest node."""
    others: list[Any] = []
    scene.honest.subscribe(NOTE, others.append)
    liar, _, stream = await scene.trusted()
    receipt = await scene.victim.send_direct(scene.honest.peer_id, NOTE, "for somebody else")
    await receipt.stored(PATIENCE)
    receipts = [await scene.victim.send_direct(liar.peer_id, NOTE, text) for text in ("first", "second")]
    told = Correspondence(scene, liar, stream, receipts)
    await told.collect(2)
    mine, message = told.bodies[0], others[0]
    return told, msgspec.structs.replace(mine, mid=bytes.fromhex(message.id), seq=message.seq, to=scene.honest.peer_id)


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_acknowledgement_is_ignored_and_charged(scene: Scene, lie: str) -> None:
    told, others = await correspondence(scene)
    reason, make = LIES[lie]
    await told.lie(make(told.bodies[0], others))
    await scene.until_dropped(reason)
    assert told.states == ["queued", "queued"]
    assert scene.charged == {told.liar.peer_id: 1}
    await the_truth_still_counts(told)
    await scene.honest_is_heard()


async def the_truth_still_counts(told: Correspondence) -> None:
    """The victim goes on in the same incarnation and sequence, and believes what can be."""
    third = await told.scene.victim.send_direct(told.liar.peer_id, NOTE, "third")
    await told.collect(3)
    assert [body.payload for body in told.bodies] == ["first", "second", "third"]
    assert [body.seq for body in told.bodies] == [1, 2, 3]
    assert len({body.incarnation for body in told.bodies}) == 1
    last = told.bodies[2]
    await told.lie(Ack(upto=Position(last.seq, last.mid)))
    await third.stored(PATIENCE)
    assert told.states == ["stored", "stored"]


async def test_what_was_acknowledged_cannot_be_taken_back_or_changed(scene: Scene) -> None:
    told, _ = await correspondence(scene)
    first, second = told.bodies
    await told.lie(Ack(upto=Position(second.seq, second.mid)))
    await told.receipts[1].stored(PATIENCE)
    await told.lie(Ack(upto=Position(first.seq, first.mid)))
    await told.lie(Ack(upto=Position(second.seq, NOBODYS)))
    await scene.until_dropped("ack_of_acknowledged", 2)
    await told.lie(Ack(outcomes=[said(first.seq, second.mid, "handled")]))
    await scene.until_dropped("outcome_forged")
    assert told.states == ["stored", "stored"]
    await told.lie(Ack(outcomes=[said(first.seq, first.mid, "handled")]))
    await told.receipts[0].handled(PATIENCE)
    await told.lie(Ack(outcomes=[said(first.seq, first.mid, "refused", number=2)]))
    await told.lie(Ack(outcomes=[said(second.seq, second.mid, "handled", number=3)]))
    await told.receipts[1].handled(PATIENCE)
    assert told.states == ["handled", "handled"]


async def test_an_acknowledgement_of_an_acknowledgement_is_ignored_and_charged(scene: Scene) -> None:
    liar, stream, _ = await scene.trusted()
    receipt = await scene.victim.send_direct(liar.peer_id, NOTE, "first")
    await liar.say(stream, Ack(upto=Position(1, bytes.fromhex(receipt.id))))
    await scene.until_dropped("ack_of_ack")
    assert receipt.state == "queued"
    assert scene.charged == {liar.peer_id: 1}
    await scene.honest_is_heard()


async def test_an_outcome_of_which_nobody_holds_the_receipt_is_compared_with_the_disk(scene: Scene) -> None:
    told, _ = await correspondence(scene)
    first, second = told.bodies
    await told.lie(Ack(upto=Position(second.seq, second.mid)))
    await told.receipts[1].stored(PATIENCE)
    told.receipts.clear()
    await told.lie(Ack(outcomes=[said(second.seq, NOBODYS, "handled", first=first.seq)]))
    await scene.until_dropped("outcome_forged")
    shown = await scene.victim._node.direct.desk.show(first.message_id)
    assert shown.state == "stored"


async def claim(told: Correspondence, **claims: Any) -> Prove:
    """The liar comes back and says HELLO with a claim; returns what the victim then asks to be shown."""
    liar, scene = told.liar, told.scene
    await liar.leave(scene.victim)
    liar.answers = False
    await liar.join(scene.victim)
    told.stream = await liar.stream_from(scene.victim)
    assert (await next_frame(told, Hello)).incarnation == told.bodies[0].incarnation
    await liar.say(told.stream, liar.hello(next=None, **claims))
    asked: Prove = await next_frame(told, Prove)
    return asked


async def next_frame(told: Correspondence, kind: type) -> Any:
    while True:
        _, _, frames = await told.liar.take("frames", lambda which, *_: which == told.stream)
        for frame in map(decode_frame, frames):
            if isinstance(frame, kind):
                return frame


def rollbacks(scene: Scene) -> list[RolledBack]:
    return [event for event in scene.told if isinstance(event, RolledBack)]


# Claims that the victim was rolled back, and what is shown as proof of it. "from the victim" stands for an envelope
# that the victim signed for the liar in this life: it proves nothing that the victim does not know.
CLAIMS: dict[str, Callable[[Correspondence], dict[str, Any]]] = {
    "more than was ever sent": lambda told: {"stored": Position(FUTURE, told.bodies[0].mid)},
    "something else in a place": lambda told: {"stored": Position(1, NOBODYS)},
    "a later incarnation": lambda told: {"newer": Incarnation(FUTURE, b"8 bytes!")},
}
PROOFS: dict[str, Callable[[Correspondence], bytes | None]] = {
    "nothing": lambda told: None,
    "no envelope": lambda told: b"believe me",
    "one of the liar's own": lambda told: told.liar.sealed_note("believe me", to=told.scene.victim.peer_id),
    "one that the liar signed in the victim's name": lambda told: forged(told),
    "from the victim": lambda told: told.envelopes[0],
    "from the victim to somebody else": lambda told: from_the_victim(told, to=told.scene.honest.peer_id),
    "from the victim to everybody": lambda told: from_the_victim(told, to=None),
    "from the victim in an earlier life": lambda told: from_the_victim(told, incarnation=Incarnation(1, b"8 bytes!")),
    "from the victim in another federation": lambda told: from_the_victim(told, federation=ELSEWHERE),
}


def from_the_victim(told: Correspondence, **changes: Any) -> bytes:
    """An envelope that the victim may well have signed: somebody who holds it shows it in the wrong place."""
    body = msgspec.structs.replace(told.bodies[0], **{"seq": FUTURE, **changes})
    return told.scene.victim._node.identity.keypair.seal(Kind.MESSAGE, [encode_body(body)])[0]


def forged(told: Correspondence) -> bytes:
    return told.liar.seal(encode_body(msgspec.structs.replace(told.bodies[0], seq=FUTURE)))[0]


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize("what", CLAIMS)
async def test_a_claim_that_the_sender_was_rolled_back_is_charged_without_a_proof_and_changes_nothing(
    scene: Scene, what: str, proof: str
) -> None:
    told, _ = await correspondence(scene)
    first = told.bodies[0]
    asked = await claim(told, **CLAIMS[what](told))
    await told.liar.say(told.stream, Proof(incarnation=asked.incarnation, envelope=PROOFS[proof](told)))
    await scene.until_dropped("rollback_unproven")
    assert told.states == ["queued", "queued"]
    assert scene.charged == {told.liar.peer_id: 1}
    assert rollbacks(scene) == []
    again = await told.liar.received(told.stream)
    assert again[0] == first, "it goes on where it was"
    await scene.honest_is_heard()


@pytest.mark.parametrize("proof", [each for each in PROOFS if each.startswith("from")])
async def test_without_doubt_any_envelope_of_the_senders_would_make_it_begin_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, proof: str
) -> None:
    believe_proofs(monkeypatch)
    told, _ = await correspondence(scene)
    asked = await claim(told, stored=Position(FUTURE, told.bodies[0].mid))
    await told.liar.say(told.stream, Proof(incarnation=asked.incarnation, envelope=PROOFS[proof](told)))
    await scene.until(lambda: rollbacks(scene))


@pytest.mark.parametrize("has_told_more", [False, True])
async def test_a_skip_that_the_sender_knows_of_is_no_proof_whatever_was_told_of_its_message(
    scene: Scene, has_told_more: bool
) -> None:
    """A receiver that got both the message and the skip may say that the message was handled: it proves nothing."""
    told, _ = await correspondence(scene)
    first, second = told.bodies
    liar, envelopes = told.liar, list[bytes]()
    await scene.victim.outbox.cancel(told.receipts[0].id)
    await liar.leave(scene.victim)
    liar.answers = False
    await liar.join(scene.victim)
    told.stream = await liar.stream_from(scene.victim)
    await liar.say(told.stream, liar.hello(next=None))
    sent: list[MessageBody] = []
    while len(sent) < 2:
        sent += await liar.received(told.stream, envelopes)
    skip = sent[0]
    assert is_skip(skip)
    assert skip.mid not in (first.mid, second.mid)
    await told.lie(Ack(upto=Position(second.seq, second.mid)))
    await told.receipts[1].stored(PATIENCE)
    claims: dict[str, Any] = {"stored": Position(FUTURE, skip.mid)}
    if has_told_more:
        await told.lie(Ack(outcomes=[said(first.seq, first.mid, "handled")]))
        await next_frame(told, Confirm)
        assert told.states[0] == "handled"
        claims = {"stored": Position(first.seq, skip.mid)}
    asked = await claim(told, **claims)
    await liar.say(told.stream, Proof(incarnation=asked.incarnation, envelope=envelopes[0]))
    await scene.until_dropped("rollback_unproven")
    assert rollbacks(scene) == []
    await scene.honest_is_heard()


async def test_an_envelope_that_the_sender_signed_and_does_not_know_is_a_proof(scene: Scene) -> None:
    """What a receiver can show after the sender's disk went back in time: made here with the victim's own key."""
    told, _ = await correspondence(scene)
    first = told.bodies[0]
    asked = await claim(told, stored=Position(FUTURE, first.mid))
    unknown = msgspec.structs.replace(first, seq=FUTURE)
    seal = scene.victim._node.identity.keypair.seal
    await told.liar.say(
        told.stream, Proof(incarnation=asked.incarnation, envelope=seal(Kind.MESSAGE, [encode_body(unknown)])[0])
    )
    await scene.until(lambda: rollbacks(scene))
    told.stream = await told.liar.stream_from(scene.victim)
    hello: Hello = await next_frame(told, Hello)
    assert hello.incarnation > first.incarnation
    await told.liar.say(told.stream, told.liar.hello(next=None))
    pending: list[MessageBody] = []
    while len(pending) < 2:
        pending += await told.liar.received(told.stream)
    assert [(body.payload, body.mid) for body in pending] == [(body.payload, body.mid) for body in told.bodies]
    assert not scene.charged
    await scene.honest_is_heard()


async def test_a_receiver_that_goes_back_and_forth_is_charged_and_gets_no_more_than_is_held(scene: Scene) -> None:
    told, _ = await correspondence(scene)
    last = told.bodies[1]
    await told.lie(Ack(upto=Position(last.seq, last.mid)))
    await told.receipts[1].stored(PATIENCE)
    liar = told.liar
    line = scene.victim._node.direct._book.get(liar.peer_id)
    assert line is not None
    outgoing = line.outgoing
    for _ in range(BACKWARDS + 1):
        await liar.leave(scene.victim)
        liar.answers = False
        await liar.join(scene.victim)
        told.stream = await liar.stream_from(scene.victim)
        await liar.say(told.stream, liar.hello(next=None))
        bodies: list[MessageBody] = []
        while len(bodies) < 2:
            bodies += await liar.received(told.stream)
        await told.lie(Ack(upto=Position(last.seq, last.mid)))
        await scene.until(lambda: outgoing.fallen_to is None)
    await scene.until_dropped("stored_goes_back")
    assert scene.charged == {liar.peer_id: 1}
    assert told.states == ["stored", "stored"]
    await scene.honest_is_heard()


def believe_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off the outbox's doubt: whoever says that it has everything is believed."""

    def believe(flight: Flight, seq: int, mid: bytes) -> list[Place]:
        stored = list(flight._places.values())
        flight._places.clear()
        return stored

    def settle(hearing: Hearing, outcomes: list[Outcome], record: object) -> None:
        for receipt in list(hearing._outgoing.live.values()) if outcomes else ():
            receipt.advance("handled")

    monkeypatch.setattr(Flight, "acknowledge", believe)
    monkeypatch.setattr(Hearing, "_settle", settle)


@pytest.mark.parametrize("lie", LIES)
async def test_without_doubt_a_lying_acknowledgement_would_move_a_receipt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    told, others = await correspondence(scene)
    believe_acknowledgements(monkeypatch)
    await told.lie(LIES[lie][1](told.bodies[0], others))
    await scene.until(lambda: told.states[0] != "queued")


async def test_without_the_roles_of_the_halves_an_acknowledgement_of_an_acknowledgement_would_count(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opener's half takes no acknowledgements; were it as the other half, this one would be true."""
    liar, stream, theirs = await scene.trusted()
    receipt = await scene.victim.send_direct(liar.peer_id, NOTE, "first")
    await liar.take(
        "frames", lambda which, _, frames: which == theirs and not isinstance(decode_frame(frames[0]), Hello)
    )
    monkeypatch.setattr(Receiver, "_on_frame", _as_acceptor)
    await liar.say(stream, Ack(upto=Position(1, bytes.fromhex(receipt.id))))
    await receipt.stored(PATIENCE)


def _as_acceptor(receiver: Receiver, data: bytes) -> list[bytes]:
    assert receiver.line.sender is not None
    receiver.line.sender._on_frame(data)
    return []
