"""What both sides' applications may say to each other before they decide, the same on both networks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.network.join_side import Sides, both_closed
from tests.network.world import PATIENCE

from covm.federation.errors import MessageTooLarge, NotStarted, PeerNotConnected
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    GossipReceived,
    HelloReceived,
    JoinFailed,
    JoinRefused,
    JoinTalked,
    JoinTalkSent,
    PeerAdmitted,
    StreamOpened,
    TopicJoined,
)
from covm.federation.wire.kinds import Kind
from covm.testing import until

KIB = 1024
ALLOWED = [b"k" * KIB] * 64
"""All that one may say unasked."""

TOPIC = "/covm/test"


@pytest.fixture(params=["simulated", "libp2p"])
async def sides(request: pytest.FixtureRequest) -> AsyncIterator[Sides]:
    async with Sides(request.param) as made:
        yield made


async def test_both_talk_and_then_admit_each_other(sides: Sides) -> None:
    guest, ours, host, theirs = await sides.greeted()
    assert guest.network.talk(ours, [b"my invite", b"and its proof"])
    await host.is_told(b"my inviteand its proof")
    assert host.network.talk(theirs, [b"a" * 4095])
    await guest.is_told(b"a" * 4095)
    assert host.heard(JoinTalked)[0] == JoinTalked(theirs, guest.network.peer_id, b"my invite")
    host.network.admit(theirs)
    assert guest.network.talk(ours, [b"thank you"])
    guest.network.admit(ours)
    await guest.hears(PeerAdmitted)
    await host.hears(PeerAdmitted)
    assert host.told.endswith(b"thank you")
    kinds = [type(event) for event in host.events]
    assert kinds.index(HelloReceived) < kinds.index(JoinTalked) < kinds.index(PeerAdmitted)


async def test_who_was_listened_to_can_still_be_refused_also_after_it_was_admitted(sides: Sides) -> None:
    for admits_first in (False, True):
        guest, ours, host, theirs = await sides.greeted()
        if admits_first:
            host.network.admit(theirs)
        guest.network.talk(ours, [b"an invite of last year"])
        await host.hears(JoinTalked)
        host.network.refuse(theirs, "it has expired")
        assert (await guest.hears(JoinRefused)).reason == "it has expired"
        await both_closed(guest, host)
        assert not guest.heard(JoinFailed)
        assert not host.heard(JoinFailed)


async def test_after_the_answer_nothing_more_is_said_and_that_is_no_error(sides: Sides) -> None:
    guest, ours, host, theirs = await sides.greeted()
    guest.network.admit(ours)
    assert guest.network.talk(ours, [b"one thing more"])
    host.network.admit(theirs)
    await guest.hears(PeerAdmitted)
    await host.hears(PeerAdmitted)
    assert host.told == b""
    await guest.network.disconnect(host.network.peer_id)
    await both_closed(guest, host)
    assert guest.network.talk(ours, [b"is anybody there?"])
    guest.network.grant(ours, KIB)


async def test_who_talks_more_than_it_may_is_disconnected_and_both_know(sides: Sides) -> None:
    guest, ours, host, _ = await sides.greeted()
    assert guest.network.talk(ours, [*ALLOWED, b"!"])
    failed = await host.hears(JoinFailed)
    assert failed.reason == "the peer talked more than the 65536 bytes that it was allowed"
    await both_closed(guest, host)
    assert host.told == b"".join(ALLOWED)


async def test_tiny_words_count_as_more_than_they_are(sides: Sides) -> None:
    guest, ours, host, _ = await sides.greeted()
    assert guest.network.talk(ours, [b"!"] * 1025)
    await host.hears(JoinFailed)
    assert host.told == b"!" * 1024


async def test_a_mebibyte_that_was_granted_goes_through_and_the_join_goes_on(sides: Sides) -> None:
    guest, ours, host, theirs = await sides.greeted()
    host.network.grant(theirs, KIB * KIB)
    history = [bytes([number % 256]) * KIB for number in range(KIB + 64)]
    await guest.says(ours, history[:KIB])
    await guest.says(ours, history[KIB:])
    await host.is_told(b"".join(history))
    host.network.admit(theirs)
    guest.network.admit(ours)
    await host.hears(PeerAdmitted)
    assert not host.heard(JoinFailed)


async def test_who_says_more_than_the_other_takes_finds_no_room_and_hears_when_there_is_some(sides: Sides) -> None:
    guest, ours, host, theirs = await sides.greeted()
    host.network.grant(theirs, 16 * KIB * KIB)
    part = [b"h" * KIB] * KIB
    at_once = [await guest.says(ours, part) for _ in range(16)]
    assert at_once[0]
    assert at_once.count(False) == len(guest.heard(JoinTalkSent))
    await host.is_told(b"h" * (16 * KIB * KIB))
    assert guest.network.talk(ours, ALLOWED)
    await host.is_told(b"h" * (16 * KIB * KIB) + b"k" * 64 * KIB)
    assert guest.network.talk(ours, [b"!"])
    assert "talked more than" in (await host.hears(JoinFailed)).reason


async def test_what_fits_no_frame_is_not_said(sides: Sides) -> None:
    guest, ours, _, _ = await sides.greeted()
    with pytest.raises(MessageTooLarge, match="4,096"):
        guest.network.talk(ours, [b"t" * 4096])
    with pytest.raises(MessageTooLarge, match="1,048,577"):
        guest.network.talk(ours, [*[b"t" * KIB] * 1023, b"t" * 961, b"t"])
    with pytest.raises(ValueError, match="at least one byte"):
        guest.network.talk(ours, [b""])
    await guest.network.stop()
    for call in (lambda: guest.network.talk(ours, [b"t"]), lambda: guest.network.grant(ours, 1)):
        with pytest.raises(NotStarted):
            call()


async def test_talk_opens_no_gate(sides: Sides) -> None:
    guest, ours, host, theirs = await sides.greeted()
    for side in (guest, host):
        await side.network.subscribe(TOPIC)
    host.network.admit(theirs)
    for network, connection in ((guest.network, ours), (host.network, theirs)):
        network.grant(connection, KIB)
        network.talk(connection, [b"let me in"])
    await host.hears(JoinTalked)
    published = await guest.network.publish(TOPIC, await guest.network.seal(Kind.MESSAGE, [b"to everyone"]))
    assert published[0].peers == 0
    with pytest.raises(PeerNotConnected):
        await guest.network.open_stream(host.network.peer_id, DIRECT_PROTOCOL)
    assert guest.network.talk(ours, [b"please"])
    await host.is_told(b"let me inplease")
    for side in (guest, host):
        for kind in (PeerAdmitted, TopicJoined, GossipReceived, StreamOpened):
            assert not side.heard(kind)


async def test_a_new_hello_is_said_on_the_next_connection(sides: Sides) -> None:
    guest, _, host, _ = await sides.greeted()
    host.network.set_hello(b"hello again")
    with pytest.raises(MessageTooLarge, match="4,096"):
        host.network.set_hello(b"h" * 4096)
    await guest.network.dial(None, host.network.addresses)
    await until(lambda: len(guest.heard(HelloReceived)) == 2, timeout=PATIENCE)
    assert [event.hello for event in guest.heard(HelloReceived)] == [b"hello", b"hello again"]


async def test_a_hello_that_fits_no_frame_does_not_start_a_network(sides: Sides) -> None:
    with pytest.raises(MessageTooLarge, match="the join HELLO has 4,096 bytes"):
        await sides.start(b"h" * 4096)
