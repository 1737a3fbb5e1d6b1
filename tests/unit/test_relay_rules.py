"""The rules about relays, by calling them: whether to have one, which to ask, which to give back, where it is."""

from __future__ import annotations

import pytest

from covm.federation.peers.book import MAX_ADDRESSES, AddressBook, Source
from covm.federation.peers.relay_choice import (
    FRUITLESS_S,
    MOST,
    PROVEN_S,
    PUBLIC_S,
    UNKNOWN_S,
    WANTED,
    Held,
    Offer,
    chosen,
    fitting,
    gives_back,
    needs_relays,
    ordered,
    relay_addresses,
    surplus,
)
from covm.federation.wire.multiaddr import hosts_of, is_of_a_house, network_of

NOW_S = 100_000.0


def offer(relay: str, host: str, **more: float) -> Offer:
    return Offer(relay, f"/ip4/{host}/tcp/9000/p2p/{relay}", more.pop("connected_s", 10.0), **more)  # type: ignore[arg-type]


def held(relay: str, host: str, useful_s: float = NOW_S) -> Held:
    return Held(relay, f"/ip4/{host}/tcp/9000/p2p/{relay}", useful_s)


def relays(offers: list[Offer]) -> list[str]:
    return [each.relay for each in offers]


def test_a_private_node_needs_relays_at_once_and_one_that_was_told_nothing_after_a_while() -> None:
    assert needs_relays("private", NOW_S, NOW_S)
    assert not needs_relays("unknown", NOW_S, NOW_S + UNKNOWN_S - 1)
    assert needs_relays("unknown", NOW_S, NOW_S + UNKNOWN_S)
    assert not needs_relays("public", 0, NOW_S)


def test_places_are_given_back_once_a_node_has_been_public_for_a_while() -> None:
    assert not gives_back("public", NOW_S, NOW_S + PUBLIC_S - 1)
    assert gives_back("public", NOW_S, NOW_S + PUBLIC_S)
    assert not gives_back("private", 0, NOW_S)
    assert not gives_back("unknown", 0, NOW_S)


def test_two_relays_of_different_networks_are_chosen() -> None:
    near = [offer("a", "192.0.2.1", round_trip_ms=5.0), offer("b", "192.0.2.2", round_trip_ms=5.0)]
    far = offer("c", "203.0.113.1", round_trip_ms=400.0)
    assert relays(chosen([], [], [*near, far], NOW_S)) == ["a", "c"]
    assert relays(chosen([held("x", "203.0.113.9")], [], [far, *near], NOW_S)) == ["a"]
    assert relays(chosen([], [network_of(near[0].address)], [*near, far], NOW_S)) == ["c"]


def test_where_all_relays_are_of_one_network_two_of_them_are_better_than_one() -> None:
    assert len(chosen([], [], [offer("a", "192.0.2.1"), offer("b", "192.0.2.2")], NOW_S)) == WANTED


def test_a_relay_that_people_named_goes_first_then_one_that_stayed_then_the_nearest() -> None:
    named = offer("d", "192.0.2.1", kept=True, round_trip_ms=300.0)
    stayed = offer("c", "198.51.100.1", connected_s=PROVEN_S, round_trip_ms=200.0)
    near, far = offer("b", "203.0.113.1", round_trip_ms=20.0), offer("a", "203.0.114.1", round_trip_ms=90.0)
    order = []
    left = [far, near, stayed, named]
    while left:
        best = chosen([held("x", "10.0.0.1")], [], left, NOW_S)[0]
        order.append(best.relay)
        left.remove(best)
    assert order == ["d", "c", "b", "a"]


def test_with_two_places_no_more_are_asked_for() -> None:
    places = [held("x", "192.0.2.1"), held("y", "203.0.113.1")]
    assert chosen(places, [], [offer("a", "198.51.100.1")], NOW_S) == []
    assert surplus(places) == []


def test_a_place_by_which_nobody_came_for_hours_is_exchanged_for_one_at_another_relay() -> None:
    silent, useful = held("x", "192.0.2.1", NOW_S - FRUITLESS_S), held("y", "203.0.113.1")
    other = offer("a", "198.51.100.1")
    assert chosen([silent, useful], [], [], NOW_S) == [], "and it is kept where there is no other"
    assert relays(chosen([silent, useful], [], [other], NOW_S)) == ["a"]
    assert surplus([silent, useful, held("a", "198.51.100.1")]) == [silent]


def test_never_more_than_the_most_places_are_held_or_asked_for() -> None:
    silent = [held(name, "192.0.2.1", 0) for name in "wxyz"]
    assert len(silent) == MOST
    assert chosen(silent, [], [offer("a", "198.51.100.1")], NOW_S) == []
    assert chosen(silent[:3], ["198.51.100.0/24"], [offer("a", "203.0.113.1")], NOW_S) == []


def where(worked: list[str], claimed: list[str], near: bool = False) -> list[str]:
    return [each.removesuffix("/p2p/R") for each in relay_addresses("R", worked, claimed, near=near)]


def test_a_relay_is_where_it_was_reached_at_best_at_an_address_that_means_something_everywhere() -> None:
    inside, outside = "/ip4/10.0.0.7/tcp/9000", "/ip4/203.0.113.7/udp/9000/quic-v1"
    assert where([inside, outside + "/p2p/R"], ["/ip4/198.51.100.9/tcp/4001"]) == [outside]
    assert where(["/dns4/mill.example/tcp/1"], [outside]) == ["/dns4/mill.example/tcp/1"]
    assert where([inside], []) == [inside], "in one house that is enough"
    assert relay_addresses("R", [outside], [], near=False) == [outside + "/p2p/R"]


def test_a_relay_that_was_reached_in_this_house_alone_is_told_of_also_where_it_says_that_it_is_outside() -> None:
    reached, said = "/ip4/192.168.1.9/tcp/4001", "/ip4/198.51.100.9/tcp/4001"
    assert where([reached], [reached, said + "/p2p/R", "/ip4/198.51.100.10/tcp/1"]) == [reached, said]
    assert where([reached], ["/ip4/198.51.100.9/tcp/0", "/ip4/10.0.0.7/tcp/1"]) == [reached]


def test_of_what_a_relay_claims_that_was_never_dialled_nothing_is_taken_where_nobody_can_be_reached() -> None:
    good = "/ip4/203.0.113.7/tcp/9000"
    assert where([], ["/ip4/0.0.0.0/tcp/9000", "/ip4/198.51.100.9/tcp/0", "/ip4/10.0.0.7/tcp/1", good]) == [good]
    assert where([], ["/ip4/127.0.0.1/tcp/1"]) == []
    assert where([], ["/ip4/127.0.0.1/tcp/1"], near=True) == ["/ip4/127.0.0.1/tcp/1"]
    through = "/ip4/203.0.113.9/tcp/1/p2p/S/p2p-circuit"
    assert where([], [through, through + "/p2p/R", good + "/p2p/S"]) == []


@pytest.mark.parametrize(
    ("address", "of_a_house"),
    [
        ("/ip4/192.168.1.2/tcp/1", True),
        ("/ip4/100.64.3.2/tcp/1", True),
        ("/ip6/fe80::1/tcp/1", True),
        ("/ip6/fd00::1/tcp/1", True),
        ("/dns4/localhost/tcp/1", True),
        ("/dns4/mill.local/tcp/1", True),
        ("/ip4/203.0.113.7/tcp/1", False),
        ("/ip6/2001:db8::1/tcp/1", False),
        ("/dns4/mill.example/tcp/1", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_addresses_of_a_house_are_told_from_those_of_the_world(address: str, of_a_house: bool) -> None:
    assert is_of_a_house(address) == of_a_house


def test_addresses_of_one_company_are_of_one_network() -> None:
    assert network_of("/ip4/203.0.113.7/tcp/1") == network_of("/ip4/203.0.113.200/udp/2/quic-v1")
    assert network_of("/ip4/203.0.113.7/tcp/1") != network_of("/ip4/203.0.114.7/tcp/1")
    assert network_of("/ip6/2001:db8:1:2::1/tcp/1") == network_of("/ip6/2001:db8:1:3::9/tcp/1")
    assert network_of("/dns4/Mill.example/tcp/1") == network_of("/dns4/mill.example/tcp/2")


def test_own_addresses_are_told_in_the_order_in_which_others_should_try_them_each_once() -> None:
    assert ordered(["/a"], ["/b", "/a"], ["/r/p2p/R/p2p-circuit"], ["/l/p2p/me", "/b/p2p/me"], "me") == [
        "/a/p2p/me",
        "/b/p2p/me",
        "/r/p2p/R/p2p-circuit/p2p/me",
        "/l/p2p/me",
    ]


HOUSE = [f"/ip4/{host}/{way}" for host in ("172.17.0.1", "192.168.1.5") for way in ("tcp/9000", "udp/9000/quic-v1")]
"""Where a node in a house listens."""


def stated(relay: str, count: int) -> list[str]:
    """The ways through a relay that states so many addresses; as text they come before the node's own."""
    return [f"/ip4/100.{number}.0.1/tcp/9000/p2p/{relay}/p2p-circuit" for number in range(count)]


def test_what_relays_state_of_themselves_is_not_where_a_node_listens() -> None:
    places = [stated("R", 1)[0], stated("S", 1)[0]]
    listening = [f"{each}/p2p/me" for each in sorted([*stated("R", 4), *stated("S", 4), *HOUSE])]
    assert ordered([], [], places, listening, "me") == [f"{each}/p2p/me" for each in (*places, *HOUSE)]


@pytest.mark.parametrize("ways", [[*stated("R", 4), *stated("S", 4)], stated("R", 16)], ids=["two", "one that invents"])
def test_the_addresses_of_relays_push_no_address_of_the_node_itself_out_of_others_books(ways: list[str]) -> None:
    book = AddressBook(needed=lambda _: False)
    book.add("peer", [*ways, *HOUSE], Source.PEER_INFO, 1)
    assert set(HOUSE) < set(book.known("peer"))
    for turn in range(2, 20):
        # It goes on stating others, and nobody says anew where the node itself is.
        book.add("peer", [f"/ip4/100.{turn}.0.1/udp/1/quic-v1/p2p/R/p2p-circuit"], Source.PEER_INFO, turn)
    assert set(HOUSE) < set(book.known("peer"))
    assert len(book.known("peer")) == MAX_ADDRESSES


def test_of_many_addresses_there_is_room_for_one_through_each_of_two_relays() -> None:
    own = [f"/ip4/10.0.0.{number}/tcp/9000" for number in range(20)]
    r, s = stated("R", 16), stated("S", 3)
    assert fitting([*r, *own, *s], 8) == [*own[:6], r[0], s[0]]
    assert fitting([*r, *own], 8) == [*own[:7], r[0]]
    assert fitting([*own[:4], *r, *s], 8) == [*own[:4], r[0], s[0], r[1], s[1]]
    assert fitting([*own, own[0]], 8) == own[:8]
    assert fitting(["/p2p-circuit", *own], 8) == [*own[:7], "/p2p-circuit"]


def test_of_the_ways_through_one_relay_those_are_taken_that_mean_something_everywhere() -> None:
    here = "/ip4/192.168.1.9/tcp/1/p2p/R/p2p-circuit"
    there = "/ip4/203.0.113.9/tcp/1/p2p/R/p2p-circuit"
    own = [f"/ip4/10.0.0.{number}/tcp/9000" for number in range(8)]
    assert fitting([here, there, *own], 8)[-1] == there


def test_an_address_through_a_relay_is_no_host_of_this_machine() -> None:
    """Else a new relay would look as if the machine had moved."""
    assert hosts_of(["/ip4/203.0.113.9/tcp/1/p2p/S/p2p-circuit/p2p/me"]) == frozenset()
    assert len(hosts_of(["/ip4/203.0.113.9/tcp/1/p2p/me"])) == 1
