"""Gossip over the simulated network: who gets what, once, and who pays for what is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.unit.simulated_world import (
    TOPIC,
    World,
    damaged,
    key,
    leaping,
    pair,
    pass_time,
    rest,
)

from covm.federation.errors import (
    MessageTooLarge,
)
from covm.federation.network.interface import (
    ConnectionClosed,
    GossipReceived,
    GossipRejected,
    NotOpened,
    Opened,
    PeerUnadmitted,
    TopicJoined,
    TopicLeft,
    Verdict,
)
from covm.federation.network.simulated import limits
from covm.federation.network.simulated.standing import Standing
from covm.federation.wire.kinds import Kind


@leaping
async def test_what_is_published_reaches_every_subscriber_through_others_with_its_author_proven() -> None:
    nodes = await World().line(4)
    assert await nodes[0].publish(b"one", b"two") == 1
    await rest(*nodes)
    for before, node in itertools.pairwise(nodes):
        assert node.bodies == [b"one", b"two"]
        assert {(event.author, event.source) for event in node.heard(GossipReceived)} == {(nodes[0].peer, before.peer)}
    assert nodes[0].bodies == []


@pytest.mark.parametrize("verdict", [Verdict.IGNORE, Verdict.REJECT, None])
@leaping
async def test_nothing_is_forwarded_unless_this_node_accepts_it(verdict: Verdict | None) -> None:
    one, middle, far = await World().line(3)
    middle.verdict = verdict
    await one.publish(b"proposal")
    await rest(one)
    assert middle.bodies == [b"proposal"]
    assert far.bodies == []


@leaping
async def test_a_verdict_may_take_its_time_but_not_for_ever() -> None:
    one, middle, far = await World().line(3)
    middle.verdict = None
    await one.publish(b"first")
    await rest(one)
    await pass_time(29)
    await one.publish(b"second")
    await rest(one)
    first, second = (event.handle for event in middle.heard(GossipReceived))
    await pass_time(1.5)
    middle.network.judge([(first, Verdict.ACCEPT), (second, Verdict.ACCEPT)])
    await rest(one)
    assert far.bodies == [b"second"]
    assert middle.network.stats()["drops"]["verdict_too_late"] == 1


@leaping
async def test_a_message_is_delivered_once_however_many_carry_it() -> None:
    world = World()
    nodes = await world.nodes(4)
    for index, node in enumerate(nodes):
        for other in nodes[index + 1 :]:
            await node.dial(other)
    envelopes = await nodes[0].network.seal(Kind.MESSAGE, [b"once"])
    (published,) = await nodes[0].network.publish(TOPIC, envelopes)
    (again,) = await nodes[0].network.publish(TOPIC, envelopes)
    assert published == again
    await rest(*nodes)
    for node in nodes[1:]:
        assert node.bodies == [b"once"]
        assert node.heard(GossipReceived)[0].gossip_id == published.gossip_id


@leaping
async def test_a_message_is_not_sent_back_to_those_who_brought_it() -> None:
    one, middle, far = await World().line(3)
    await one.dial(far)
    middle.verdict = None
    await one.publish(b"proposal")
    await rest(one)
    middle.network.judge([(event.handle, Verdict.ACCEPT) for event in middle.heard(GossipReceived)])
    await rest(one)
    assert middle.network.stats()["drops"] == {"duplicate": 1}
    assert far.network.stats()["drops"] == one.network.stats()["drops"] == {}


@leaping
async def test_a_rejected_message_costs_its_carrier_and_ten_cost_it_the_connection() -> None:
    one, other = await pair()
    other.verdict = Verdict.REJECT
    for index in range(9):
        await one.publish(b"%d" % index)
    await rest(one)
    assert not other.heard(ConnectionClosed)
    await one.publish(b"the last straw")
    await rest(one)
    assert len(other.heard(PeerUnadmitted)) == 1


@leaping
async def test_ignored_messages_cost_nothing() -> None:
    one, other = await pair()
    other.verdict = Verdict.IGNORE
    for index in range(50):
        await one.publish(b"%d" % index)
    await rest(one)
    assert not other.heard(ConnectionClosed)


@leaping
async def test_a_charged_peer_is_not_listened_to_until_time_has_passed() -> None:
    one, other = await pair()
    other.network.charge(one.peer, 1.1 * limits.CUT_OFF_PENALTY)
    await rest(one)
    assert len(one.heard(PeerUnadmitted)) == 1
    await one.dial(other)
    await one.publish(b"ignored")
    await rest(one)
    assert other.bodies == []
    await pass_time(10)
    await one.publish(b"heard")
    await rest(one)
    assert other.bodies == [b"heard"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damaged, "bad_signature"),
        (lambda envelope: envelope + b"\x7a\x00", "not_canonical"),
        (lambda envelope: b"\xff" + envelope, "malformed"),
        (lambda _: key(1).seal("/covm/other", [b"body"])[0], "wrong_kind"),
    ],
)
@leaping
async def test_bytes_that_do_not_verify_are_rejected_before_the_handler_and_charged(
    spoil: Callable[[bytes], bytes], reason: str
) -> None:
    one, middle, far = await World().line(3)
    (good,) = await one.network.seal(Kind.MESSAGE, [b"proposal"])
    await one.network.publish(TOPIC, [spoil(good), good])
    await rest(one)
    (rejected,) = middle.heard(GossipRejected)
    assert (rejected.reason, rejected.source) == (reason, one.peer)
    # A bad copy that comes first does not suppress the good one.
    assert middle.bodies == far.bodies == [b"proposal"]
    assert not far.heard(GossipRejected)


@leaping
async def test_a_flood_of_bad_signatures_is_cut_off() -> None:
    one, other = await pair()
    envelopes = await one.network.seal(Kind.MESSAGE, [b"%d" % index for index in range(100)])
    await one.network.publish(TOPIC, [damaged(envelope) for envelope in envelopes])
    await rest(one)
    assert len(other.heard(GossipRejected)) == 10
    assert len(other.heard(PeerUnadmitted)) == 1


@leaping
async def test_an_envelope_too_large_for_gossip_is_not_sent_nor_are_those_before_it() -> None:
    one, other = await pair()
    with pytest.raises(MessageTooLarge):
        await one.publish(b"small", bytes(limits.GOSSIP_ENVELOPE_BYTES))
    await rest(one)
    assert other.bodies == []
    await one.publish(bytes(64 * 1024))
    await rest(one)
    assert len(other.bodies) == 1


@pytest.mark.parametrize(("bound", "value"), [("GOSSIP_QUEUE_MESSAGES", 20), ("GOSSIP_QUEUE_BYTES", 20 * 1200)])
@leaping
async def test_under_a_burst_the_oldest_gossip_gives_way_and_is_not_forwarded(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(limits, bound, value)
    one, middle, far = await World().line(3)
    bodies = [b"%d" % index + bytes(1024) for index in range(50)]
    await one.publish(*bodies)
    await rest(one)
    kept = len(middle.bodies)
    assert 15 <= kept <= 20
    assert middle.bodies == far.bodies == bodies[-kept:]
    assert middle.network.stats()["drops"]["gossip_queue_full"] == 50 - kept


@leaping
async def test_gossip_goes_only_to_those_who_listen() -> None:
    world = World()
    one, listener = await world.line(2)
    deaf = await world.node(subscribed=False)
    await one.dial(deaf)
    assert await one.publish(b"a") == 1
    await rest(one)
    await listener.network.unsubscribe(TOPIC)
    await deaf.network.subscribe(TOPIC)
    await rest(one)
    assert one.heard(TopicLeft) == [TopicLeft(listener.peer, TOPIC)]
    assert await one.publish(b"b") == 1
    await rest(one)
    assert (listener.bodies, deaf.bodies) == ([b"a"], [b"b"])


@leaping
async def test_envelopes_are_opened_in_order_and_the_bad_ones_are_named() -> None:
    one, other = await pair()
    good, bad = await one.network.seal(Kind.MESSAGE, [b"good", b"bad"])
    assert await other.network.open(Kind.MESSAGE, [good, damaged(bad)]) == [
        Opened(one.peer, b"good"),
        NotOpened("bad_signature"),
    ]


# --- bounds ---


@leaping
async def test_a_peer_makes_its_neighbours_remember_only_so_many_topics() -> None:
    one, other = await pair()
    for index in range(limits.GOSSIP_TOPICS_PER_PEER + 3):
        await one.network.subscribe(f"/covm/{index}")
    await rest(one)
    assert len(other.heard(TopicJoined)) == limits.GOSSIP_TOPICS_PER_PEER


@leaping
async def test_of_too_many_undecided_messages_the_oldest_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GOSSIP_AWAITING", 3)
    one, middle, far = await World().line(3)
    middle.verdict = None
    await one.publish(b"0", b"1", b"2", b"3")
    await rest(one)
    middle.network.judge([(event.handle, Verdict.ACCEPT) for event in middle.heard(GossipReceived)])
    await rest(one)
    assert far.bodies == [b"1", b"2", b"3"]


@leaping
async def test_a_slow_link_holds_only_so_much_gossip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GOSSIP_IN_FLIGHT", 3)
    one, other = await pair(latency=timedelta(seconds=1))
    for _ in range(2):
        await one.publish(*(b"%d" % index for index in range(5)))
        await rest(one)
    assert other.bodies == [b"0", b"1", b"2"]
    await one.publish(b"again room")
    await rest(one)
    assert other.bodies[-1] == b"again room"


@leaping
async def test_ids_are_remembered_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GOSSIP_SEEN", 2)
    one, other = await pair()
    for body in (b"a", b"b", b"c", b"a", b"a"):
        await one.publish(body)
        await rest(one)
    assert other.bodies == [b"a", b"b", b"c", b"a"]


def test_only_so_many_peers_are_remembered_for_what_they_cost() -> None:
    standing = Standing()
    for index in range(limits.PENALTIES + 1):
        standing.charge(f"peer-{index}", 50.0, now_s=0.0)
    assert standing.penalty("peer-0", 0.0) == 0.0
    assert standing.penalty("peer-1", 0.0) == 50.0
    assert standing.penalty("peer-1", 60.0) == 25.0


@pytest.mark.parametrize("amount", [-5.0, 0.0, float("nan"), float("inf")])
def test_a_charge_that_is_no_amount_changes_nothing(amount: float) -> None:
    standing = Standing()
    standing.charge("peer", 5.0, now_s=0.0)
    assert standing.charge("peer", amount, now_s=0.0) == 5.0
    assert standing.charge("peer", 1e9, now_s=0.0) == limits.PENALTY_MOST
