"""Nodes of the simulated network talk before they decide. Time leaps: no test waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.unit.simulated_world import Node, World, leaping, pass_time, rest

from covm.federation.network.interface import (
    ConnectionClosed,
    JoinFailed,
    JoinTalked,
    JoinTalkSent,
    PeerAdmitted,
    PeerUnadmitted,
)
from covm.federation.network.simulated import LinkFaults, limits
from covm.federation.wire.limits import (
    MAX_JOIN_HELLO,
    MAX_JOIN_TALK,
    MAX_JOIN_TALK_AT_ONCE,
    MIN_JOIN_TALK_COUNTED,
)

CONNECTION = 1
"""Each node's only one."""


async def undecided(latency: timedelta = timedelta(0)) -> tuple[Node, Node]:
    """Two that have said HELLO, and wait for each other."""
    one, other = await World(LinkFaults(latency=latency)).nodes(2)
    one.admits = other.admits = False
    await one.dial(other)
    return one, other


@leaping
async def test_a_stranger_that_talks_on_gets_no_more_time_than_a_silent_one() -> None:
    one, other = await undecided()
    for _ in range(4):
        one.network.talk(CONNECTION, [b"wait for me"])
        await pass_time(1)
    assert not other.heard(JoinFailed)
    await pass_time(1.1)
    assert "too long" in other.heard(JoinFailed)[0].reason
    assert other.heard(ConnectionClosed)
    assert one.heard(ConnectionClosed)


@leaping
async def test_a_talker_that_never_decides_is_dropped_thirty_seconds_after_it_connected() -> None:
    for talks in (True, False):
        one, other = await undecided()
        await pass_time(4)
        for node in (one, other):
            if talks:
                node.network.talk(CONNECTION, [b"one moment"])
            else:
                node.network.grant(CONNECTION, 1)
        await pass_time(20)
        other.network.grant(CONNECTION, 1)
        other.network.talk(CONNECTION, [b"one moment more"])
        await pass_time(5.9)
        assert not other.heard(ConnectionClosed)
        await pass_time(0.2)
        assert other.heard(JoinFailed)
        assert one.heard(ConnectionClosed)


@leaping
async def test_a_join_that_was_given_time_opens_late() -> None:
    one, other = await undecided()
    for node in (one, other):
        node.network.talk(CONNECTION, [b"let me ask"])
    await pass_time(20)
    for node in (one, other):
        node.network.admit(CONNECTION)
    await rest(one)
    await pass_time(60)
    assert one.heard(PeerAdmitted)
    assert other.heard(PeerAdmitted)
    assert not other.heard(ConnectionClosed)


@leaping
async def test_what_is_under_way_takes_room_until_it_has_arrived() -> None:
    one, other = await undecided(latency=timedelta(seconds=1))
    other.network.grant(CONNECTION, 2**21)
    part = [b"h" * 1024] * 512
    assert one.network.talk(CONNECTION, part)
    await asyncio.sleep(0.5)
    assert one.network.talk(CONNECTION, part)
    assert not one.network.talk(CONNECTION, [b"more"])
    await asyncio.sleep(0.6)
    assert len(other.heard(JoinTalked)) == 512
    assert not one.heard(JoinTalkSent), "the second half is still under way"
    await asyncio.sleep(0.5)
    await rest(one)
    assert one.heard(JoinTalkSent) == [JoinTalkSent(CONNECTION, other.peer)]
    assert one.network.talk(CONNECTION, part)
    await rest(one)
    assert len(one.heard(JoinTalkSent)) == 1, "nobody was turned away since"


@leaping
async def test_who_was_admitted_and_is_then_refused_is_no_peer_any_more() -> None:
    one, other = await undecided()
    for node in (one, other):
        node.network.admit(CONNECTION)
    await rest(one)
    other.network.refuse(CONNECTION, "on second thoughts")
    await rest(one)
    for node in (one, other):
        assert node.heard(PeerUnadmitted)
        assert len(node.heard(ConnectionClosed)) == 1


def test_the_bounds_of_the_wire_are_those_of_the_networks() -> None:
    assert MAX_JOIN_HELLO == MAX_JOIN_TALK == limits.JOIN_HELLO_BYTES
    assert MAX_JOIN_TALK_AT_ONCE == limits.JOIN_TALK_UNSENT_BYTES
    assert MIN_JOIN_TALK_COUNTED == limits.JOIN_TALK_LEAST_BYTES
