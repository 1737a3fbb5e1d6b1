"""A configuration made in Python: defaults, presets, and every problem at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from covm.federation.config import PRESETS, ConnectionRetry, FederationConfig
from covm.federation.errors import ConfigError

PEER = "12D3KooWH3uVF6wv47WnArKHk5p6cvgCJEb74UTmxztmQDc298L3"


def problems(**fields: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        FederationConfig(**fields)
    return {problem.field: problem.allowed for problem in caught.value.problems}


def test_the_defaults_are_those_that_the_documentation_promises() -> None:
    config = FederationConfig()
    assert config.listen_addresses == ["/ip4/0.0.0.0/tcp/9000", "/ip4/0.0.0.0/udp/9000/quic-v1"]
    assert (config.enable_mdns, config.enable_kademlia, config.bootstrap_peers) == (True, True, [])
    assert config.max_connections == 50
    assert config.heartbeat_interval == timedelta(seconds=30)
    assert config.sync_interval == timedelta(seconds=300)
    assert config.message_timeout == timedelta(seconds=60)
    assert config.connection_retry == ConnectionRetry(
        max_retries=5, base_delay=timedelta(seconds=1), max_delay=timedelta(seconds=60)
    )
    assert (config.home, config.membership, config.network, config.reachability) == (None, "members", "covm", "auto")
    assert (config.enable_relay, config.enable_hole_punching, config.enable_upnp) == (True, True, True)
    assert (config.announce_addresses, config.gossip_allowance, config.gossip_log_size) == ([], 5000, 1000)


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(AttributeError):
        FederationConfig().max_connections = 3  # type: ignore[misc]


def test_two_configurations_share_no_list() -> None:
    FederationConfig().bootstrap_peers.append("/ip4/192.0.2.1/tcp/1")
    assert FederationConfig().bootstrap_peers == []


def test_every_problem_is_told_at_once_with_value_source_and_what_is_allowed() -> None:
    with pytest.raises(ConfigError) as caught:
        FederationConfig(max_connections=0, network="My Coop", heartbeat_interval=timedelta(0))
    told = str(caught.value)
    assert "3 problems" in told
    assert "max_connections = 0 (argument): must be a whole number from 1 to 10,000" in told
    assert 'network = "My Coop" (argument)' in told
    assert 'heartbeat_interval = "0s" (argument): must be a duration from 100ms to 1h' in told


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("max_connections", True, "whole number"),
        ("max_connections", "50", "whole number"),
        ("enable_mdns", 1, "true or false"),
        ("heartbeat_interval", "30s", "in Python a timedelta"),
        ("heartbeat_interval", 30, "in Python a timedelta"),
        ("membership", "closed", "must be one of members, open"),
        ("reachability", "publik", "did you mean public?"),
        ("log_level", "INFO", "one of debug, info, warning, error, critical"),
        ("network", "", "1 to 64 of a-z"),
        ("network", "Föderation", "1 to 64 of a-z"),
        ("name", "x" * 65, "at most 64"),
        ("name", "a\x1b[31m", "all of them visible"),
        ("home", "", "path of a directory"),
        ("home", Path("/home"), "must be text"),
        ("listen_addresses", "/ip4/0.0.0.0/tcp/1", "must be a list"),
        ("gossip_log_size", 10**9, "whole number"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_is_allowed(field: str, value: object, allowed: str) -> None:
    assert allowed in problems(**{field: value})[field]


def test_the_bad_address_in_a_list_is_named() -> None:
    found = problems(
        listen_addresses=["/ip4/0.0.0.0/tcp/9000", "0.0.0.0:9000", f"/ip4/0.0.0.0/tcp/9001/p2p/{PEER}"],
        bootstrap_peers=["/ip4/192.0.2.1/tcp/9000", 7],
        announce_addresses=["/dns4/coop.example/tcp/9000", "/dns4/coop.example/tcp/9000"],
    )
    assert found.keys() == {
        "listen_addresses[1]",
        "listen_addresses[2]",
        "bootstrap_peers[0]",
        "bootstrap_peers[1]",
        "announce_addresses[1]",
    }
    assert "an address to listen on looks like /ip4" in found["listen_addresses[1]"]
    assert "the node adds its own peer id" in found["listen_addresses[2]"]
    assert "/p2p/<peer id>" in found["bootstrap_peers[0]"]
    assert "twice" in found["announce_addresses[1]"]


def test_a_node_listens_at_its_own_addresses_and_announces_none_through_a_relay() -> None:
    through = f"/ip4/192.0.2.1/tcp/9000/p2p/{PEER}/p2p-circuit"
    found = problems(listen_addresses=[through], announce_addresses=[through])
    assert "leads through a relay" in found["listen_addresses[0]"]
    assert "leads through a relay, and the node tells those itself" in found["announce_addresses[0]"]


@pytest.mark.parametrize("address", ["/dns4/localhost/tcp/9555", "/dns/coop.example/udp/9000/quic-v1", "/dnsaddr/a"])
def test_a_node_listens_at_no_name(address: str) -> None:
    told = problems(listen_addresses=[address])["listen_addresses[0]"]
    assert "must be an IP address of this machine, not a name: /ip4/0.0.0.0/tcp/9000 is all of them" in told
    assert "announce_addresses" in told


def test_of_a_wrong_address_to_listen_on_no_name_is_recommended() -> None:
    found = problems(listen_addresses=["nowhere"], announce_addresses=["nowhere"])
    assert found["listen_addresses[0]"].endswith("an address to listen on looks like /ip4/0.0.0.0/tcp/9000")
    assert "/dns4/coop.example/tcp/9000" in found["announce_addresses[0]"]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/ip4/203.0.113.5/tcp/0", "port 0 stands for any free port"),
        ("/ip4/0.0.0.0/tcp/9000", "stands for every address of a machine"),
        ("/ip6/fe80::1/tcp/9000", "link-local"),
    ],
)
def test_what_nobody_can_dial_is_neither_announced_nor_dialled(address: str, why: str) -> None:
    assert why in problems(announce_addresses=[address])["announce_addresses[0]"]
    assert why in problems(bootstrap_peers=[f"{address}/p2p/{PEER}"])["bootstrap_peers[0]"]


def test_more_addresses_than_a_node_may_have_are_refused() -> None:
    many = [f"/ip4/192.0.2.1/tcp/{port}" for port in range(1, 100)]
    assert "at most 32" in problems(listen_addresses=many)["listen_addresses"]


def test_settings_that_contradict_each_other_are_told() -> None:
    retry = ConnectionRetry(base_delay=timedelta(minutes=2))
    assert "must not be below" in problems(connection_retry=retry)["connection_retry.max_delay"]
    assert "connection_retry.base_delay" in problems(connection_retry=5)


def test_a_contradiction_is_told_beside_other_problems() -> None:
    retry = ConnectionRetry(base_delay=timedelta(minutes=5), max_delay=timedelta(seconds=1))
    found = problems(connection_retry=retry, max_connections=0)
    assert set(found) == {"connection_retry.max_delay", "max_connections"}


def test_a_value_that_is_wrong_by_itself_contradicts_nothing() -> None:
    retry = ConnectionRetry(base_delay=timedelta(days=9), max_delay=timedelta(seconds=1))
    assert set(problems(connection_retry=retry)) == {"connection_retry.base_delay"}


def test_an_escape_sequence_in_a_bad_value_never_reaches_the_terminal() -> None:
    with pytest.raises(ConfigError) as caught:
        FederationConfig(network="\x1b[2Jcoop")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("place", PRESETS)
def test_each_preset_is_a_configuration(place: str) -> None:
    assert FederationConfig.preset(place).membership == "members"


def test_the_local_preset_stays_on_this_machine() -> None:
    config = FederationConfig.preset("local", name="ada", home="~/node")
    assert all("/127.0.0.1/" in address for address in config.listen_addresses)
    assert not config.enable_mdns
    assert config.reachability == "public"
    assert (config.enable_relay, config.enable_hole_punching, config.enable_upnp) == (False, False, False)
    assert config.heartbeat_interval == timedelta(seconds=5)
    assert config.name == "ada"
    assert config.home_path == Path.home() / "node"


def test_a_preset_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(ConfigError, match="one of local, lan, wan; did you mean local"):
        FederationConfig.preset("locl")
