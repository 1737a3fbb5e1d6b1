"""What an operator reads of the ways to a node, for every way that a node can stand behind a router."""

from __future__ import annotations

from typing import Any

from covm.federation.diagnosis.finding import Area, Finding, Verdict
from covm.federation.diagnosis.ways import Ways, ways_findings
from covm.federation.reachability import OwnAddress, Punch, Reachability, RelayPlace

MINUTE = 60_000
NOW = 100 * MINUTE
ALL = ("/ip4/0.0.0.0/tcp/9000", "/ip4/0.0.0.0/udp/9000/quic-v1")
HOME = ("/ip4/10.8.1.2/tcp/9000/p2p/12D3KooWme", "/ip4/10.8.1.2/udp/9000/quic-v1/p2p/12D3KooWme")
OUTSIDE = "/ip4/203.0.113.5/tcp/9000"
NAMES = {"12D3KooWmill": "Mill Bakery", "12D3KooWfarm": "Riverside Farm", "12D3KooWshop": "Corner Shop"}
MILLS_PLACE = RelayPlace("12D3KooWmill", "accepted", "/ip4/192.0.2.1/tcp/9000/p2p/12D3KooWmill/p2p-circuit", "", NOW)


def told(
    listening: tuple[str, ...] = HOME,
    *,
    connected: int = 1,
    configured: tuple[str, ...] = ALL,
    announced: tuple[str, ...] = (),
    setting: str = "auto",
    **known: Any,
) -> dict[Area, Finding]:
    ways = Ways(configured, listening, announced, Reachability(setting, **known), connected, NOW, NAMES)
    return {finding.area: finding for finding in ways_findings(ways)}


def private(**known: Any) -> dict[Area, Finding]:
    """A node that a peer has tried to reach in vain."""
    return told(reached="private", **known)


def test_behind_an_ordinary_router_with_a_relay_direct_connections_are_told() -> None:
    found = private(relays=(MILLS_PLACE,), punches=(Punch("12D3KooWfarm", True, "", NOW),))
    reach = found[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert reach.what == "others reach it through Mill Bakery, and then directly"
    assert "through both routers with Riverside Farm" in reach.why
    assert found[Area.RELAY].what == "it has a place at Mill Bakery"
    assert found[Area.RELAY].verdict is Verdict.OK


def test_with_a_relay_and_no_direct_connection_tried_it_is_reached() -> None:
    reach = private(relays=(MILLS_PLACE,))[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert reach.what == "others reach it through Mill Bakery"
    assert "forward TCP port 9000 and UDP port 9000" in reach.next_step


def test_behind_a_symmetric_router_it_stays_relayed_and_says_why() -> None:
    failed = tuple(Punch(peer, False, "timed out", NOW - 3 * MINUTE) for peer in ("12D3KooWfarm", "12D3KooWshop"))
    reach = private(relays=(MILLS_PLACE,), punches=failed)[Area.REACHABILITY]
    assert reach.verdict is Verdict.WARNING
    assert reach.what == "it stays relayed, through Mill Bakery"
    assert "no direct connection with Riverside Farm 3 min ago: timed out" in reach.why
    assert "failed with 2 peers" in reach.why
    assert "symmetric NAT" in reach.why
    assert "forward TCP port 9000" in reach.next_step


def test_after_one_failure_nobody_knows_whose_router_it_is() -> None:
    failed = Punch("12D3KooWfarm", False, "timed out", NOW)
    reach = private(relays=(MILLS_PLACE,), punches=(failed,))[Area.REACHABILITY]
    assert reach.verdict is Verdict.WARNING
    assert "this router or the peer's" in reach.why


def test_a_router_that_has_changed_is_told() -> None:
    failed = Punch("12D3KooWfarm", False, "timed out", NOW, worked_ms=NOW - 40 * MINUTE)
    reach = private(relays=(MILLS_PLACE,), punches=(failed,))[Area.REACHABILITY]
    assert "the last one that worked was 40 min ago, so a router has been changed since" in reach.why


def test_a_direct_way_to_some_is_no_fault_of_this_router() -> None:
    punches = (Punch("12D3KooWshop", False, "timed out", NOW), Punch("12D3KooWfarm", True, "", NOW))
    reach = private(relays=(MILLS_PLACE,), punches=punches)[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert "not with Corner Shop: timed out" in reach.why


def test_without_a_relay_nobody_can_connect() -> None:
    found = private()
    assert found[Area.REACHABILITY].verdict is Verdict.PROBLEM
    assert found[Area.REACHABILITY].what == "nobody can connect to it"
    assert found[Area.RELAY].verdict is Verdict.PROBLEM
    assert "none of the peers that are connected relays" in found[Area.RELAY].why
    assert "covm federation connect" in found[Area.RELAY].next_step


def test_what_relays_have_against_it_is_told() -> None:
    lost = RelayPlace("12D3KooWmill", "lost", "", "the relay is full", NOW)
    found = private(relays=(lost,))
    assert found[Area.RELAY].verdict is Verdict.PROBLEM
    assert found[Area.RELAY].why == "Mill Bakery: the relay is full"
    found = private(relays=(MILLS_PLACE, lost._replace(relay="12D3KooWfarm")))
    assert found[Area.RELAY].verdict is Verdict.OK
    assert "Riverside Farm: the relay is full" in found[Area.RELAY].why


def test_a_relay_that_is_being_asked_is_no_verdict() -> None:
    found = private(relays=(RelayPlace("12D3KooWmill", "asking", "", "", NOW),))
    assert found[Area.RELAY].verdict is Verdict.NOT_CHECKED
    assert "Mill Bakery" in found[Area.RELAY].what


def test_what_the_router_said_to_upnp_is_told() -> None:
    reach = private(upnp="no router here speaks it")[Area.REACHABILITY]
    assert "UPnP: no router here speaks it" in reach.why
    assert "turn UPnP on in the router" in reach.next_step


def test_a_port_that_the_router_opened_is_told() -> None:
    found = told(reached="public", addresses=(OwnAddress(OUTSIDE, "upnp", "confirmed", ""),))
    assert found[Area.REACHABILITY].verdict is Verdict.OK
    assert found[Area.REACHABILITY].what == f"others reach it at {OUTSIDE}"
    assert "UPnP" in found[Area.REACHABILITY].why
    assert found[Area.RELAY].what == "none is needed"


def test_a_port_forwarded_by_hand_is_believed_until_a_peer_objects() -> None:
    stated = OwnAddress(OUTSIDE, "announced", "confirmed", "")
    reach = told(announced=(OUTSIDE,), reached="public", addresses=(stated,))[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert reach.why == "announce_addresses says so; no peer has objected"

    tried = OwnAddress(OUTSIDE, "autonat", "confirmed", "12D3KooWmill")
    reach = told(announced=(OUTSIDE,), reached="public", addresses=(stated, tried))[Area.REACHABILITY]
    assert reach.why == "peers have tried it"

    in_vain = OwnAddress(OUTSIDE, "autonat", "unreachable", "timed out")
    reach = told(announced=(OUTSIDE,), reached="public", addresses=(in_vain,))[Area.REACHABILITY]
    assert reach.verdict is Verdict.PROBLEM
    assert reach.what == f"others are told {OUTSIDE}, and cannot reach it there"
    assert "correct announce_addresses" in reach.next_step


def test_over_ipv6_only_a_firewall_is_named_and_nothing_is_to_be_forwarded() -> None:
    six = ("/ip6/2001:db8::5/tcp/9000/p2p/12D3KooWme",)
    reach = private(listening=six)[Area.REACHABILITY]
    assert reach.verdict is Verdict.PROBLEM
    assert "IPv6" in reach.why
    assert reach.next_step.startswith("allow TCP port 9000 to this machine in the router's IPv6 firewall")
    confirmed = OwnAddress("/ip6/2001:db8::5/tcp/9000", "autonat", "confirmed", "")
    reach = told(six, reached="public", addresses=(confirmed,))[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert "over IPv6 alone" in reach.why


def test_before_anybody_has_answered_there_is_no_verdict() -> None:
    found = told(connected=2)
    assert found[Area.REACHABILITY].verdict is Verdict.NOT_CHECKED
    assert found[Area.REACHABILITY].why == "no peer has tried to connect to it yet"
    assert found[Area.RELAY].verdict is Verdict.NOT_CHECKED
    found = told(connected=0)
    assert found[Area.REACHABILITY].why == "no peer is connected that could try"


def test_with_a_relay_before_anybody_has_answered_it_is_reached() -> None:
    reach = told(relays=(MILLS_PLACE,))[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert reach.what == "others reach it through Mill Bakery"


def test_a_node_of_one_machine_is_well_and_says_how_it_would_be_reached_from_elsewhere() -> None:
    found = told(("/ip4/127.0.0.1/tcp/4000/p2p/12D3KooWme", "/ip6/::1/tcp/4000/p2p/12D3KooWme"), setting="public")
    assert [finding.verdict for finding in found.values()] == [Verdict.OK] * 3
    assert "preset lan or wan" in found[Area.REACHABILITY].next_step


def test_a_node_set_public_on_a_local_network_is_told_who_can_reach_it() -> None:
    reach = told(setting="public")[Area.REACHABILITY]
    assert reach.verdict is Verdict.OK
    assert reach.what == "nodes of the same local network reach it, and nobody else"
    reach = told(("/ip4/8.8.4.4/tcp/9000/p2p/12D3KooWme",), setting="public")[Area.REACHABILITY]
    assert reach.what == "others are told /ip4/8.8.4.4/tcp/9000"
    assert "nobody tests that" in reach.why


def test_a_node_set_private_needs_a_relay() -> None:
    found = told(setting="private")
    assert found[Area.REACHABILITY].verdict is Verdict.OK
    assert found[Area.RELAY].verdict is Verdict.WARNING


def test_a_node_that_listens_nowhere_is_told() -> None:
    found = told(())
    assert found[Area.LISTENING].verdict is Verdict.PROBLEM
    assert "are gone" in found[Area.LISTENING].why
    assert found[Area.REACHABILITY].verdict is Verdict.NOT_CHECKED
    found = told((), configured=())
    assert found[Area.LISTENING].verdict is Verdict.WARNING
    assert "only dials" in found[Area.LISTENING].what


def test_a_node_that_listens_says_where() -> None:
    listening = told()[Area.LISTENING]
    assert listening.verdict is Verdict.OK
    assert listening.what == "it listens on /ip4/10.8.1.2/tcp/9000, /ip4/10.8.1.2/udp/9000/quic-v1"


def test_a_node_that_listens_nowhere_is_reached_where_it_has_a_place() -> None:
    known: dict[str, Any] = {"configured": (), "setting": "private", "reached": "private"}
    assert told((), **known)[Area.REACHABILITY].verdict is Verdict.NOT_CHECKED
    reach = told((), **known, relays=(MILLS_PLACE,))[Area.REACHABILITY]
    assert (reach.verdict, reach.what) == (Verdict.OK, "it listens nowhere, and others reach it through Mill Bakery")


def test_what_failed_long_ago_says_nothing_of_todays_router_unless_the_peer_is_relayed_still() -> None:
    failed = tuple(Punch(peer, False, "timed out", NOW - 90 * MINUTE) for peer in ("12D3KooWfarm", "12D3KooWshop"))
    reach = private(relays=(MILLS_PLACE,), punches=failed)[Area.REACHABILITY]
    assert (reach.verdict, reach.what) == (Verdict.OK, "others reach it through Mill Bakery")
    known = Reachability("auto", "private", relays=(MILLS_PLACE,), punches=failed)
    ways = Ways(ALL, HOME, (), known, 1, NOW, NAMES, frozenset({"12D3KooWfarm"}))
    reach = next(finding for finding in ways_findings(ways) if finding.area is Area.REACHABILITY)
    assert reach.what == "it stays relayed, through Mill Bakery"


def test_a_private_node_is_reached_where_it_has_a_place_and_nowhere_else() -> None:
    reach = told(setting="private")[Area.REACHABILITY]
    assert reach.what.endswith("nobody reaches it: it has no place at a relay")
    reach = told(setting="private", relays=(MILLS_PLACE,))[Area.REACHABILITY]
    assert reach.what.endswith("they reach it through Mill Bakery")
