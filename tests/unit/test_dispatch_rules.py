"""The rules of delivery, by calling them: outbox, inbox, lanes, receipts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from covm._native import Link
from covm.federation.dispatch.inbox import MAX_OUTCOMES, MAX_REMEMBERED_IDS, Acceptance, Inbox
from covm.federation.dispatch.lanes import Lanes
from covm.federation.dispatch.outbox import Budget, Entry, Outbox, Violation
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.subscriptions import Subscription, Subscriptions
from covm.federation.errors import DeliveryTimeout, MessageRefused
from covm.federation.identity import Identity
from covm.federation.network.simulated.limits import STREAM_BUFFER_BYTES, STREAM_FRAME_BYTES
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import Outcome
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, encode_body

LIFE = Incarnation(1, b"nonce-01")
LATER = Incarnation(2, b"nonce-02")
FEDERATION: Link = open_federation("test").cid


def mid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def receipt(number: int) -> Receipt:
    return Receipt(mid(number), "ben", "a.note", 60.0)


def filled(count: int, *, sent: int = 0, lifetimes_s: dict[int, int] | None = None) -> Outbox:
    outbox = Outbox(Budget())
    for seq in range(1, count + 1):
        expires_s = (lifetimes_s or {}).get(seq, 1_000)
        outbox.add(Entry("a.note", mid(seq), seq, b"body %d" % seq, expires_s, receipt(seq)))
    for entry in outbox.take(sent, 10**9) if sent else []:
        entry.envelope = b"envelope"
    return outbox


def body(seq: int, number: int | None = None, life: Incarnation = LIFE) -> MessageBody:
    return MessageBody(
        federation=FEDERATION,
        type="a.note",
        author="ada",
        incarnation=life,
        seq=seq,
        mid=mid(seq if number is None else number),
        to="ben",
        sent_at=0,
        expires_at=None,
        payload=None,
    )


def renumber(encoded: bytes, seq: int) -> bytes:
    return b"body %d" % seq


def test_an_acknowledgement_stores_everything_up_to_it() -> None:
    outbox = filled(5, sent=5)
    assert [entry.seq for entry in outbox.acknowledge(3, mid(3))] == [1, 2, 3]
    assert (len(outbox), outbox.first_held) == (2, 4)
    assert outbox.acknowledge(3, mid(3)) == [], "said again, it changes nothing"


@pytest.mark.parametrize(
    ("seq", "number", "reason"),
    [
        (3, 4, "ack_forged"),
        (6, 6, "ack_of_unsent"),
        (9, 9, "ack_of_unsent"),
        (10**18, 1, "ack_of_unsent"),
    ],
)
def test_an_acknowledgement_that_cannot_be_is_a_violation_and_changes_nothing(
    seq: int, number: int, reason: str
) -> None:
    outbox = filled(8, sent=5)
    with pytest.raises(Violation) as found:
        outbox.acknowledge(seq, mid(number))
    assert found.value.reason == reason
    assert (len(outbox), outbox.first_held) == (8, 1)


def test_an_acknowledgement_of_what_was_acknowledged_is_a_violation() -> None:
    outbox = filled(5, sent=5)
    outbox.acknowledge(3, mid(3))
    with pytest.raises(Violation, match="ack_of_acknowledged"):
        outbox.acknowledge(2, mid(2))
    with pytest.raises(Violation, match="ack_of_acknowledged"):
        outbox.acknowledge(3, mid(5))


def test_outcomes_settle_once_and_only_what_was_stored() -> None:
    outbox = filled(3, sent=3)
    with pytest.raises(Violation, match="outcome_of_unsent"):
        outbox.settle(1, mid(1))
    outbox.acknowledge(2, mid(2))
    with pytest.raises(Violation, match="outcome_forged"):
        outbox.settle(1, mid(2))
    settled = outbox.settle(1, mid(1))
    assert settled is not None
    assert settled.seq == 1
    assert outbox.settle(1, mid(1)) is None, "a reconnect says it again"


def test_what_expires_before_it_was_sent_leaves_no_gap() -> None:
    outbox = filled(4, lifetimes_s={2: 10})
    expired = outbox.expire(10, in_flight=True, renumber=renumber)
    assert [entry.mid for entry in expired] == [mid(2)]
    rest = outbox.take(9, 10**9)
    assert [(entry.seq, entry.mid, entry.body) for entry in rest] == [
        (1, mid(1), b"body 1"),
        (2, mid(3), b"body 2"),
        (3, mid(4), b"body 3"),
    ]
    assert outbox.next_seq == 4


def test_what_was_sent_expires_only_at_the_head_and_only_without_a_stream() -> None:
    outbox = filled(3, sent=3, lifetimes_s={1: 10, 3: 10})
    assert outbox.expire(10, in_flight=True, renumber=renumber) == []
    assert [entry.seq for entry in outbox.expire(10, in_flight=False, renumber=renumber)] == [1]
    assert outbox.first_held == 2


def test_a_receiver_that_had_an_expired_message_all_the_same_is_believed() -> None:
    outbox = filled(2, sent=2, lifetimes_s={1: 10, 2: 10})
    assert len(outbox.expire(10, in_flight=False, renumber=renumber)) == 2
    assert [entry.seq for entry in outbox.acknowledge(2, mid(2))] == [1, 2]


def test_the_budget_counts_what_is_held_and_no_more() -> None:
    budget = Budget()
    outbox = Outbox(budget)
    for seq in range(1, 5):
        outbox.add(Entry("a.note", mid(seq), seq, b"x" * 100, 10 if seq == 4 else 10**9, receipt(seq)))
    assert budget.size_bytes == 400
    for entry in outbox.take(2, 10**9):
        entry.envelope = b"envelope"
    outbox.acknowledge(2, mid(2))
    outbox.expire(10, in_flight=True, renumber=renumber)
    assert budget.size_bytes == outbox.size_bytes == 100


def test_a_frames_worth_is_bounded_but_never_empty() -> None:
    outbox = filled(10)
    assert len(outbox.take(3, 10**9)) == 3
    assert len(outbox.take(9, 1)) == 1
    assert len(outbox.take(9, 13)) == 2


def test_messages_are_taken_in_order_and_once() -> None:
    inbox = Inbox()
    inbox.open(LIFE, 1)
    assert inbox.accept(body(1)) is Acceptance.NEW
    assert inbox.accept(body(2)) is Acceptance.NEW
    assert inbox.accept(body(1)) is Acceptance.RESENT
    assert inbox.stored == (2, mid(2))
    with pytest.raises(Violation, match="sequence_gap"):
        inbox.accept(body(4))
    with pytest.raises(Violation, match="wrong_incarnation"):
        inbox.accept(body(3, life=LATER))


def test_an_id_that_was_seen_has_no_second_effect_under_a_new_number_or_incarnation() -> None:
    inbox = Inbox()
    inbox.open(LIFE, 1)
    inbox.accept(body(1))
    assert inbox.accept(body(2, number=1)) is Acceptance.REPEATED
    inbox.open(LATER, 1)
    assert inbox.accept(body(1, life=LATER)) is Acceptance.REPEATED
    assert inbox.stored == (1, mid(1))


def test_a_sender_that_gave_up_its_oldest_goes_on_from_what_it_holds() -> None:
    inbox = Inbox()
    inbox.open(LIFE, 7)
    assert inbox.accept(body(7)) is Acceptance.NEW
    inbox.open(LIFE, 3)
    assert inbox.accept(body(7)) is Acceptance.RESENT, "saying less than before takes nothing back"


def test_what_an_inbox_remembers_is_bounded() -> None:
    inbox = Inbox()
    inbox.open(LIFE, 1)
    for seq in range(1, MAX_REMEMBERED_IDS + 100):
        inbox.accept(body(seq))
        inbox.settle(Outcome(seq, mid(seq), "handled"))
    assert len(inbox._seen) == MAX_REMEMBERED_IDS
    assert len(inbox.outcomes) == MAX_OUTCOMES


def test_outcomes_outnumber_what_a_senders_credit_lets_wait() -> None:
    keypair = Identity.from_seed(bytes(32)).keypair
    shortest = msgspec.structs.replace(
        body(1), type="a.b", author=keypair.peer_id, to=keypair.peer_id, incarnation=Incarnation(0, bytes(8))
    )
    smallest_bytes = len(keypair.seal(Kind.MESSAGE, [encode_body(shortest)])[0])
    assert (STREAM_BUFFER_BYTES + STREAM_FRAME_BYTES) // smallest_bytes < MAX_OUTCOMES


def test_a_head_at_which_three_streams_ended_is_taken_out_and_the_next_begins_behind_it() -> None:
    outbox = filled(4, sent=3)
    assert [outbox.ended_at_head(), outbox.ended_at_head()] == [None, None]
    outbox.acknowledge(1, mid(1))
    assert [outbox.ended_at_head(), outbox.ended_at_head()] == [None, None], "another head, counted anew"
    refused = outbox.ended_at_head()
    assert refused is not None
    assert refused.mid == mid(2)
    assert (len(outbox), outbox.first_held, outbox.size_bytes) == (2, 3, len(b"body 3") * 2)
    assert [entry.mid for entry in outbox.acknowledge(3, mid(3))] == [mid(2), mid(3)], "the receiver may have had it"


def test_the_only_message_that_is_taken_out_leaves_the_next_number_to_the_next() -> None:
    outbox = filled(1, sent=1)
    for _ in range(3):
        outbox.ended_at_head()
    assert (len(outbox), outbox.first_held, outbox.next_seq) == (0, 2, 2)
    assert outbox.ended_at_head() is None


def test_a_lane_that_waits_gets_the_slot_of_one_that_finished() -> None:
    lanes: Lanes[int] = Lanes(slots=1)
    one, other = ("ada", "a.note"), ("ben", "a.note")
    assert lanes.push(one, 1)
    assert not lanes.push(one, 2)
    assert not lanes.push(other, 3)
    assert lanes.pop(one) == 1
    assert lanes.finish(one) == other, "after its turn a lane goes to the end"
    assert (lanes.pop(other), lanes.pop(other)) == (3, None)
    assert lanes.finish(other) == one
    assert (lanes.pop(one), lanes.queued) == (2, 0)
    assert lanes.finish(one) is None
    assert one not in lanes


async def test_a_receipt_tells_its_waiters_and_keeps_its_last_word() -> None:
    sent = receipt(1)
    waiting = asyncio.create_task(sent.stored())
    await asyncio.sleep(0)
    sent.advance("stored")
    await waiting
    sent.advance("refused", "no oven")
    sent.advance("handled")
    assert (sent.state, sent.reason) == ("refused", "no oven")
    with pytest.raises(MessageRefused, match="no oven"):
        await sent.handled()


async def test_a_receipt_that_waits_in_vain_says_for_what() -> None:
    with pytest.raises(DeliveryTimeout, match="not handled") as late:
        await receipt(1).handled(timeout=timedelta(0))
    assert isinstance(late.value, TimeoutError)
    assert late.value.state == "queued"


async def test_an_expired_receipt_follows_what_the_receiver_says_later() -> None:
    sent = receipt(1)
    sent.advance("expired")
    sent.advance("handled")
    await sent.stored()
    await sent.handled()


def test_handlers_keep_their_order_and_leave_by_subscription_or_by_function() -> None:
    subscriptions = Subscriptions()

    def one(message: object) -> None: ...

    def other(message: object) -> None: ...

    first = subscriptions.add(Subscription("a.note", one, None))
    subscriptions.add(Subscription("a.note", other, "other"))
    subscriptions.add(Subscription("b.note", other, None))
    assert subscriptions.names()["a.note"] == [first.name, "other"]
    assert subscriptions.remove(other) == 2
    assert subscriptions.remove(first) == 1
    assert subscriptions.names() == {}
