"""THREATS.md, row *messages: acknowledgement forged, for another's message, of an acknowledgement, of what was never
sent*: each is ignored and charged; no receipt moves, and the sender never begins a new incarnation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import PATIENCE, Scene

from covm.federation import Receipt
from covm.federation.dispatch.outbox import Entry, Outbox
from covm.federation.dispatch.receiving import Receiver
from covm.federation.wire.frames import Ack, Hello, Outcome, Position, decode_frame
from covm.federation.wire.message import MessageBody

FUTURE = 2**63 - 1
NOBODYS = b"of no message..."

Lie = Callable[[MessageBody, MessageBody], Ack]

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
        lambda mine, others: Ack(outcomes=[Outcome(mine.seq, mine.mid, "handled")]),
    ),
    "an outcome of what was never sent": (
        "outcome_of_unsent",
        lambda mine, others: Ack(outcomes=[Outcome(FUTURE, NOBODYS, "refused", "no thanks")]),
    ),
    "an outcome of number zero": (
        "outcome_of_unsent",
        lambda mine, others: Ack(outcomes=[Outcome(0, NOBODYS, "handled")]),
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

    @property
    def states(self) -> list[str]:
        return [receipt.state for receipt in self.receipts]

    async def lie(self, ack: Ack) -> None:
        await self.liar.say(self.stream, ack)

    async def collect(self, count: int) -> None:
        while len(self.bodies) < count:
            self.bodies += await self.liar.received(self.stream)


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
    await told.lie(Ack(outcomes=[Outcome(first.seq, second.mid, "handled")]))
    await scene.until_dropped("outcome_forged")
    assert told.states == ["stored", "stored"]
    await told.lie(Ack(outcomes=[Outcome(first.seq, first.mid, "handled")]))
    await told.receipts[0].handled(PATIENCE)
    await told.lie(Ack(outcomes=[Outcome(first.seq, first.mid, "refused", "changed my mind")]))
    await told.lie(Ack(outcomes=[Outcome(second.seq, second.mid, "handled")]))
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


async def test_a_hello_that_lies_about_what_is_stored_is_charged_and_changes_nothing(scene: Scene) -> None:
    """Even "I have more of you than you ever sent", which a node that lost its memory would have to believe."""
    told, _ = await correspondence(scene)
    liar, scene = told.liar, told.scene
    await liar.leave(scene.victim)
    liar.answers = False
    await liar.join(scene.victim)
    stream = await liar.stream_from(scene.victim)
    first = told.bodies[0]
    await liar.say(stream, liar.hello(first=None, stored=Position(FUTURE, first.mid)))
    await scene.until_dropped("ack_of_unsent")
    assert told.states == ["queued", "queued"]
    assert scene.charged == {liar.peer_id: 1}
    _, _, frames = await liar.take("frames", lambda which, *_: which == stream)
    assert _hello(frames).incarnation == first.incarnation
    await scene.honest_is_heard()


def _hello(frames: list[bytes]) -> Hello:
    hello = decode_frame(frames[0])
    assert isinstance(hello, Hello)
    return hello


def believe_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off the outbox's doubt: whoever says that it has everything is believed."""

    def believe(outbox: Outbox, seq: int, mid: bytes) -> list[Entry]:
        entries = list(outbox._sent)
        outbox._sent.clear()
        return outbox._store(entries, seq, mid)

    monkeypatch.setattr(Outbox, "acknowledge", believe)
    monkeypatch.setattr(Outbox, "settle", lambda outbox, seq, mid: outbox._sent[0])


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
    liar, stream, _ = await scene.trusted()
    receipt = await scene.victim.send_direct(liar.peer_id, NOTE, "first")
    await scene.until(lambda: not scene.victim._node.direct._lines[liar.peer_id].outbox.has_waiting)
    monkeypatch.setattr(Receiver, "_on_frame", _as_acceptor)
    await liar.say(stream, Ack(upto=Position(1, bytes.fromhex(receipt.id))))
    await receipt.stored(PATIENCE)


def _as_acceptor(receiver: Receiver, data: bytes) -> list[bytes]:
    assert receiver.line.sender is not None
    receiver.line.sender._on_frame(data)
    return []
