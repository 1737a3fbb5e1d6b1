"""Where an address leads, whether anybody can be dialled there, and which is tried first."""

from __future__ import annotations

import pytest

from covm.federation.errors import InvalidAddress
from covm.federation.peers.book import Known, Source
from covm.federation.peers.dial_order import in_order
from covm.federation.peers.target import parse_dialled
from covm.federation.wire.multiaddr import hosts_of, is_loopback, why_unroutable

RELAYED = "/ip4/198.51.100.9/tcp/1/p2p/12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV/p2p-circuit"


def heard(source: Source = Source.KADEMLIA, at_ms: int = 0, worked_ms: int | None = None, error: str = "") -> Known:
    return Known(source, at_ms, at_ms, worked_ms, worked_ms, error)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/ip4/0.0.0.0/tcp/9000", "every address of a machine"),
        ("/ip6/::/udp/9000/quic-v1", "every address of a machine"),
        ("/ip4/198.51.100.1/tcp/0", "port 0"),
        ("/dns4/coop.example/udp/0/quic-v1", "port 0"),
        ("/ip4/224.0.0.251/tcp/9000", "multicast"),
        ("/ip6/ff02::1/tcp/9000", "multicast"),
        ("/ip4/255.255.255.255/tcp/9000", "reserved"),
        ("/ip6/fe80::1/tcp/9000", "link-local"),
        ("/ip4/169.254.169.254/tcp/80", "link-local"),
        ("/ip6/::ffff:0.0.0.0/tcp/9000", "every address of a machine"),
        ("/ip4/0.0.0.0/tcp/1/p2p/12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV/p2p-circuit", "every address"),
    ],
)
def test_where_nobody_can_be_dialled_it_says_why(address: str, why: str) -> None:
    assert why in why_unroutable(address, near=True)
    with pytest.raises(InvalidAddress, match="is not a usable address"):
        parse_dialled(address)


def test_loopback_is_an_address_only_on_the_same_machine() -> None:
    for address in ("/ip4/127.0.0.1/tcp/9000", "/ip6/::1/tcp/9000", "/dns4/printer.LOCALHOST./tcp/631"):
        assert "another machine" in why_unroutable(address, near=False)
        assert why_unroutable(address, near=True) == ""
        assert is_loopback(address)
    assert not is_loopback("/ip4/198.51.100.1/tcp/9000")
    assert not is_loopback("/dns4/coop.example/tcp/9000")


@pytest.mark.parametrize(
    "address", ["/ip4/198.51.100.1/tcp/9000", "/dns4/coop.example/tcp/9000", "/ip6/2001:db8::1/tcp/1", "/memory/7"]
)
def test_what_may_be_dialled_is_said_to_be_well(address: str) -> None:
    assert why_unroutable(address, near=False) == ""


def test_what_worked_last_goes_first_and_what_has_failed_since_does_not() -> None:
    known = {
        "/ip4/198.51.100.1/tcp/1": heard(Source.OPERATOR),
        "/ip4/198.51.100.2/tcp/1": heard(worked_ms=5),
        "/ip4/198.51.100.3/tcp/1": heard(worked_ms=9),
        "/ip4/198.51.100.4/tcp/1": heard(worked_ms=99, error="refused"),
    }
    assert [address[16] for address in in_order(known, [])] == ["3", "2", "1", "4"]


def test_direct_goes_before_relayed_and_a_foreign_private_network_last() -> None:
    known = {
        RELAYED: heard(Source.PEER_INFO),
        "/ip4/192.168.7.5/tcp/1": heard(Source.PEER_INFO),
        "/ip4/10.1.2.3/tcp/1": heard(Source.PEER_INFO),
        "/ip4/198.51.100.1/tcp/1": heard(Source.MDNS),
    }
    own = hosts_of(["/ip4/10.1.9.9/tcp/9000", "/ip4/127.0.0.1/tcp/9000"])
    assert in_order(known, own) == [
        "/ip4/10.1.2.3/tcp/1",
        "/ip4/198.51.100.1/tcp/1",
        "/ip4/192.168.7.5/tcp/1",
        RELAYED,
    ]


def test_by_source_then_by_how_lately_it_was_heard_of() -> None:
    known = {
        "/ip4/198.51.100.1/tcp/1": heard(Source.MDNS, 9),
        "/ip4/198.51.100.2/tcp/1": heard(Source.PEER_INFO, 1),
        "/ip4/198.51.100.3/tcp/1": heard(Source.PEER_INFO, 2),
    }
    assert [address[16] for address in in_order(known, [])] == ["3", "2", "1"]


def test_ipv6_and_ipv4_take_turns_and_both_transports_of_a_host_are_tried() -> None:
    known = dict.fromkeys(
        [
            "/ip4/198.51.100.1/tcp/1",
            "/ip4/198.51.100.1/udp/1/quic-v1",
            "/ip6/2001:db8::1/tcp/1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
        ],
        heard(),
    )
    assert in_order(known, []) == [
        "/ip6/2001:db8::1/tcp/1",
        "/ip4/198.51.100.1/tcp/1",
        "/ip6/2001:db8::1/udp/1/quic-v1",
        "/ip4/198.51.100.1/udp/1/quic-v1",
    ]
