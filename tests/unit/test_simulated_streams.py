"""Streams over the simulated network: order, credit, and the end said once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.simulated_world import (
    MIB,
    World,
    leaping,
    pair,
    pass_time,
    rest,
    stream_between,
)

from covm.federation.errors import (
    MessageTooLarge,
    NetworkError,
    PeerNotConnected,
)
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.network.simulated import LinkFaults, limits


@leaping
async def test_frames_arrive_in_order_both_ways() -> None:
    one, other = await pair()
    mine, theirs = await stream_between(one, other)
    for index in range(100):
        assert one.network.try_send(mine, [b"a%d" % index, b"b%d" % index])
        assert other.network.try_send(theirs, [b"ack%d" % index])
    await rest(one)
    assert other.frames == [b"first", *(b"%c%d" % (side, index) for index in range(100) for side in b"ab")]
    assert one.frames == [b"ack%d" % index for index in range(100)]


@leaping
async def test_a_stream_is_shown_with_its_first_frame_and_a_silent_one_is_refused() -> None:
    one, other = await pair()
    mine = await one.network.open_stream(other.peer, DIRECT_PROTOCOL)
    await rest(one)
    assert not other.heard(StreamOpened)
    await pass_time(limits.FIRST_FRAME_DEADLINE_S)
    await rest(one)
    assert other.heard(StreamRefused) == [StreamRefused(one.peer, DIRECT_PROTOCOL, "no frame in time")]
    assert one.heard(StreamClosed) == [StreamClosed(mine, "reset by peer")]
    assert not other.heard(StreamClosed)


@leaping
async def test_a_slow_reader_stops_the_writer_and_others_go_on() -> None:
    world = World()
    one, slow = await world.line(2)
    quick = await world.node()
    await one.dial(quick)
    slow.releases = False
    to_slow, at_slow = await stream_between(one, slow)
    to_quick, _ = await stream_between(one, quick)
    taken = 0
    while one.network.try_send(to_slow, [bytes(64 * 1024)]):
        taken += 1
        assert one.network.try_send(to_quick, [bytes(1024)])
        await rest(one)
        assert taken < 100, "credit never ran out"
    assert sum(map(len, slow.frames)) <= MIB + 64 * 1024
    assert 2 * MIB <= taken * 64 * 1024 <= 2 * MIB + 2 * 64 * 1024
    assert len(quick.frames) == taken + 1

    assert not one.heard(StreamWritable)
    slow.releases = True
    slow.network.release(at_slow, sum(map(len, slow.frames)))
    await rest(one)
    assert one.heard(StreamWritable) == [StreamWritable(to_slow)]
    assert one.network.try_send(to_slow, [b"on we go"])
    await rest(one)
    assert slow.frames[-1] == b"on we go"
    assert len(slow.frames) == taken + 2


@leaping
async def test_a_frame_of_the_largest_size_passes_and_one_byte_more_does_not() -> None:
    one, other = await pair()
    mine, _ = await stream_between(one, other)
    with pytest.raises(MessageTooLarge):
        one.network.try_send(mine, [bytes(limits.STREAM_FRAME_BYTES + 1)])
    with pytest.raises(ValueError, match="at least one byte"):
        one.network.try_send(mine, [b""])
    assert one.network.try_send(mine, [bytes(limits.STREAM_FRAME_BYTES)])
    await rest(one)
    assert len(other.frames[-1]) == limits.STREAM_FRAME_BYTES


@leaping
async def test_a_closed_stream_delivers_what_was_queued_and_ends_once_on_both_sides() -> None:
    one, other = await pair()
    mine, theirs = await stream_between(one, other)
    for _ in range(30):
        one.network.try_send(mine, [bytes(100_000)])
    one.network.close_stream(mine)
    with pytest.raises(PeerNotConnected):
        one.network.try_send(mine, [b"too late"])
    await rest(one)
    assert len(other.frames) >= 12
    assert one.heard(StreamClosed) == [StreamClosed(mine, "closed")]
    assert other.heard(StreamClosed) == [StreamClosed(theirs, "closed by peer")]
    one.network.close_stream(mine)
    one.network.release(mine, 10)
    with pytest.raises(PeerNotConnected):
        one.network.try_send(mine, [b"gone"])


@leaping
async def test_a_close_that_the_reader_does_not_let_through_ends_at_its_deadline() -> None:
    one, other = await pair()
    other.releases = False
    mine, theirs = await stream_between(one, other)
    while one.network.try_send(mine, [bytes(MIB // 2)]):
        pass
    one.network.close_stream(mine)
    await pass_time(4.9)
    assert not one.heard(StreamClosed)
    await pass_time(0.2)
    assert one.heard(StreamClosed) == [StreamClosed(mine, "close timed out")]
    assert other.heard(StreamClosed) == [StreamClosed(theirs, "reset by peer")]


@leaping
async def test_streams_fall_with_their_connection_and_say_so_once() -> None:
    world = World()
    one, other = await world.line(2)
    mine, theirs = await stream_between(one, other)
    world.fabric.cut(one.peer, other.peer)
    await rest(one)
    assert one.heard(StreamClosed) == [StreamClosed(mine, "connection closed")]
    assert other.heard(StreamClosed) == [StreamClosed(theirs, "connection closed")]
    with pytest.raises(PeerNotConnected):
        await one.network.open_stream(other.peer, DIRECT_PROTOCOL)


@leaping
async def test_there_is_one_stream_a_peer_and_protocol_and_the_newer_replaces_the_older() -> None:
    one, other = await pair()
    mine, theirs = await stream_between(one, other)
    with pytest.raises(NetworkError, match="already open"):
        await one.network.open_stream(other.peer, DIRECT_PROTOCOL)
    with pytest.raises(NetworkError, match="protocol not supported"):
        await one.network.open_stream(other.peer, "/covm/unknown/1.0.0")
    # The writer forgot its stream (a restart, a lost connection that only it has noticed) and opens another.
    node = one.network._running()
    node.find_stream = lambda *_, **__: None  # type: ignore[method-assign]
    newer, theirs_newer = await stream_between(one, other)
    assert other.heard(StreamClosed) == [StreamClosed(theirs, "replaced")]
    assert one.heard(StreamClosed) == [StreamClosed(mine, "reset by peer")]
    assert (newer, theirs_newer) != (mine, theirs)


@leaping
async def test_a_stream_that_is_not_answered_fails_after_ten_seconds() -> None:
    world = World()
    one, other = await world.line(2)
    world.fabric.set_faults(one.peer, other.peer, LinkFaults(latency=timedelta(seconds=6)))
    with pytest.raises(NetworkError, match="open timed out"):
        await one.network.open_stream(other.peer, DIRECT_PROTOCOL)
    await rest(one)
    world.fabric.set_faults(one.peer, other.peer, LinkFaults())
    await stream_between(one, other)


@leaping
async def test_a_peer_opens_only_so_many_streams_on_a_connection() -> None:
    world = World()
    protocols = [f"/covm/{index}" for index in range(limits.STREAMS_PER_CONNECTION + 1)]
    one, other = await world.node(protocols=protocols), await world.node(protocols=protocols)
    await one.dial(other)
    for protocol in protocols[:-1]:
        await one.network.open_stream(other.peer, protocol)
    with pytest.raises(NetworkError, match="reset by peer"):
        await one.network.open_stream(other.peer, protocols[-1])
