"""Who gives way on a full node, by calling the rule."""

from __future__ import annotations

from covm.federation.peers.trimming import SETTLED_S, Held, Standing, displaced_by

LATER_S = 1_000.0


def held(
    peer: str,
    standing: Standing = Standing.OTHER,
    *,
    is_direct: bool = True,
    is_healthy: bool = True,
    since_s: float = 0.0,
) -> Held:
    return Held(peer, standing, is_direct, is_healthy, since_s)


def test_who_has_more_standing_takes_the_place_of_the_least() -> None:
    all_kinds = [held("pinned", Standing.PINNED), held("kept", Standing.KEPT), held("member", Standing.MEMBER)]
    assert displaced_by(Standing.PINNED, all_kinds, LATER_S) == "member"
    assert displaced_by(Standing.KEPT, all_kinds, LATER_S) == "member"
    assert displaced_by(Standing.MEMBER, all_kinds, LATER_S) is None
    assert displaced_by(Standing.MEMBER, [*all_kinds, held("other")], LATER_S) == "other"


def test_nobody_displaces_one_of_the_same_standing() -> None:
    for standing in Standing:
        assert displaced_by(standing, [held("one", standing), held("two", standing)], LATER_S) is None


def test_the_relayed_the_silent_and_the_latest_give_way_first() -> None:
    first, second = held("first", since_s=1.0), held("second", since_s=2.0)
    silent, relayed = held("silent", is_healthy=False), held("relayed", is_direct=False)
    assert displaced_by(Standing.MEMBER, [first, second, silent, relayed], LATER_S) == "relayed"
    assert displaced_by(Standing.MEMBER, [first, second, silent], LATER_S) == "silent"
    assert displaced_by(Standing.MEMBER, [first, second], LATER_S) == "second"


def test_who_has_just_come_stays_a_while_unless_a_pinned_peer_knocks() -> None:
    just_come = [held("one", since_s=LATER_S - SETTLED_S / 2)]
    assert displaced_by(Standing.KEPT, just_come, LATER_S) is None
    assert displaced_by(Standing.PINNED, just_come, LATER_S) == "one"
