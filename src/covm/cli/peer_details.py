"""All that a node knows of one peer, and `covm federation ping`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from covm.cli.exits import Exit
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import age, clock_time, duration, facts, size, table
from covm.control import schema
from covm.control.client import ControlClient
from covm.control.failures import Invalid, TimedOut
from covm.control.pings import MOST_PINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

WAY_COLUMNS = ("ADDRESS", "SOURCE", "HEARD", "TRIED", "WORKED", "LAST ERROR")


def ping(
    peer: str, /, *, count: Annotated[int, Parameter(name=["--count", "-c"])] = 4, common: Common = DEFAULT
) -> Exit:
    """Measure how long a peer takes to answer, or say why it is not connected and when it is tried again.

    Parameters
    ----------
    peer
        A peer id, the beginning of one, or a name.
    count
        How often, 1 to 16.
    """
    if not 1 <= count <= MOST_PINGS:
        raise Invalid(f"--count is {count}: it must be 1 to {MOST_PINGS}", code="bad_count")
    answer = ControlClient(common.folder).ping(peer, count)
    called = safe(answer.peer.name or answer.peer.peer_id)
    if common.json:
        say_json(answer)
    elif not answer.peer.connected:
        show(answer.peer)
        note(f"covm: {called} is not connected; `covm federation connect` tries at once")
    elif answer.round_trips_ms:
        say(f"{called} ({answer.peer.peer_id}) is connected {way(answer.peer)}")
        for number, round_trip_ms in enumerate(answer.round_trips_ms, 1):
            say(f"  {number}  {duration(round_trip_ms)}")
        least, mean, most = (duration(each or 0) for each in (answer.min_ms, answer.avg_ms, answer.max_ms))
        say(f"{len(answer.round_trips_ms)} answered, {answer.lost} lost; min/avg/max {least} / {mean} / {most}")
    if not answer.peer.connected:
        return Exit.FAILED
    if not answer.round_trips_ms:
        if common.json:
            return Exit.TIMED_OUT
        raise TimedOut(f"{answer.peer.peer_id} is connected and answered none of {answer.lost} heartbeats; try again")
    return Exit.DONE


def show(peer: schema.Peer) -> None:
    """One peer, a line for each thing that is known, and its addresses in the order in which they are tried."""
    facts(
        [
            ("name", peer.name),
            ("peer id", peer.peer_id),
            ("state", f"{peer.state} for {age(peer.since)}" if peer.since else peer.state),
            ("why", peer.why),
            ("way", way(peer) if peer.connected else ""),
            ("round trip", "" if peer.round_trip_ms is None else duration(peer.round_trip_ms)),
            ("clock", _clock(peer.clock_offset_ms)),
            ("versions", _versions(peer)),
            ("place", "pinned" if peer.pinned else "kept" if peer.kept else ""),
            ("queued", f"{peer.queued} ({size(peer.queued_bytes)})" if peer.queued else ""),
            ("last error", peer.last_error),
            ("next try", "" if peer.next_try is None else clock_time(peer.next_try)),
        ]
    )
    rows = [
        (
            each.address.removesuffix(f"/p2p/{peer.peer_id}"),
            each.source,
            _ago(each.last_heard),
            _ago(each.last_tried),
            _ago(each.last_worked),
            safe(each.error),
        )
        for each in peer.ways
    ]
    table(WAY_COLUMNS, rows, empty="no address is known at which it could be dialled")


def show_all(peers: Sequence[schema.Peer]) -> None:
    """Several peers, with an empty line between them."""
    for index, peer in enumerate(peers):
        if index:
            say("")
        show(peer)


def way(peer: schema.Peer) -> str:
    """How a connected peer is connected."""
    if not peer.relayed:
        return f"directly ({peer.direction})"
    return f"by relay, {safe(peer.relayed_why)}"


def _clock(offset_ms: float | None) -> str:
    if offset_ms is None:
        return ""
    return f"{duration(abs(offset_ms))} {'ahead' if offset_ms > 0 else 'behind'}"


def _versions(peer: schema.Peer) -> str:
    told = (("covm ", peer.software), ("protocol ", peer.protocol), ("agent ", peer.agent))
    return ", ".join(f"{what}{version}" for what, version in told if version)


def _ago(time_ms: int | None) -> str:
    return "-" if time_ms is None else f"{age(time_ms)} ago"
