"""Every setting by its name, with its kind and bounds; and the check of a whole configuration.

Nested settings are named with a dot: `connection_retry.max_retries`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from covm import _native
from covm.federation.config.durations import format_duration
from covm.federation.config.kinds import Choice, Duration, Kind, Switch, Text, Texts, Whole
from covm.federation.errors import ConfigProblem
from covm.federation.wire.display import shown
from covm.federation.wire.limits import (
    MAX_ADDRESS,
    MAX_ADDRESSES,
    MAX_DIRECT_PAYLOAD,
    MAX_NAME,
    MAX_NETWORK_NAME,
    MAX_TIME_TO_LIVE,
)
from covm.federation.wire.multiaddr import why_unroutable

_NETWORK: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_MOST_BOOTSTRAP_PEERS: Final = 256
"""A list that a person keeps; each is dialled at start."""
_LOOKS_LIKE: Final = "an address looks like /ip4/198.51.100.1/tcp/9000 or /dns4/coop.example/tcp/9000"
_LONGEST_VALUE_SHOWN: Final = 120
_PASSWORD: Final = re.compile(r"(\w://[^/?#@\s:]*:)[^\s]*(@)")
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)


def _listen_rule(address: str) -> str | None:
    problem, peer = _parsed(address, "an address to listen on looks like /ip4/0.0.0.0/tcp/9000")
    if problem is None and address.startswith("/dns"):
        return (
            "must be an IP address of this machine, not a name: /ip4/0.0.0.0/tcp/9000 is all of them; a name by which "
            "others reach it belongs in announce_addresses"
        )
    if problem is None and peer is not None:
        return "must not end in /p2p/...: the node adds its own peer id"
    if problem is None and "/p2p-circuit" in address:
        return "must be this node's own: it leads through a relay"
    return problem


def _announce_rule(address: str) -> str | None:
    problem = _parsed(address)[0]
    if problem is None and "/p2p-circuit" in address:
        return "must be this node's own: it leads through a relay, and the node tells those itself"
    return problem or why_unroutable(address, near=True) or None


def _bootstrap_rule(address: str) -> str | None:
    problem, peer = _parsed(address)
    if problem is None and peer is None:
        return "must end in /p2p/<peer id>, so that nobody else can answer in its place"
    return problem or why_unroutable(address, near=True) or None


def _pinned_rule(target: str) -> str | None:
    if target.startswith("/"):
        return _bootstrap_rule(target)
    try:
        _native.parse_peer_id(target)
    except ValueError as error:
        return f"must be a peer id, or an address that ends in one: {error}"
    return None


def _parsed(address: str, otherwise: str = _LOOKS_LIKE) -> tuple[str | None, str | None]:
    """What is wrong with a multiaddr, with what to write `otherwise`; and the peer id that it names."""
    if len(address) > MAX_ADDRESS:
        return f"must have at most {MAX_ADDRESS} characters", None
    try:
        return None, _native.parse_multiaddr(address)[1]
    except ValueError as error:
        return f"{error}; {otherwise}", None


def _home_rule(home: str) -> str | None:
    return "must be the path of a directory" if not home.strip() or "\0" in home else None


def _name_rule(name: str) -> str | None:
    if len(name) > MAX_NAME or not name.isprintable():
        return f"must have at most {MAX_NAME} characters, all of them visible"
    return None


def _store_rule(url: str) -> str | None:
    if url and not url.startswith(("postgresql://", "postgres://")):
        return "must be empty (SQLite in the home), or look like postgresql://user:password@host/database?schema=covm"
    return None


def _network_rule(network: str) -> str | None:
    if len(network) > MAX_NETWORK_NAME or not _NETWORK.fullmatch(network):
        return (
            f"must have 1 to {MAX_NETWORK_NAME} of a-z, 0-9, dot, dash and underscore, beginning and ending with a "
            "letter or digit: all nodes of a federation write it alike"
        )
    return None


def _federation_rule(federation: str) -> str | None:
    try:
        fits = not federation or str(_native.Link(federation)) == federation
    except ValueError:
        fits = False
    return None if fits else "must be empty, or the id of a federation, which begins with bafyrei"


SETTINGS: Final[Mapping[str, Kind]] = {
    "home": Text(_home_rule, optional=True),
    "name": Text(_name_rule),
    "membership": Choice(("members", "open")),
    "federation": Text(_federation_rule),
    "network": Text(_network_rule),
    "listen_addresses": Texts(_listen_rule, MAX_ADDRESSES),
    "announce_addresses": Texts(_announce_rule, MAX_ADDRESSES),
    "reachability": Choice(("auto", "public", "private")),
    "enable_relay": Switch(),
    "enable_hole_punching": Switch(),
    "enable_upnp": Switch(),
    "enable_mdns": Switch(),
    "enable_kademlia": Switch(),
    "enable_peer_exchange": Switch(),
    "bootstrap_peers": Texts(_bootstrap_rule, _MOST_BOOTSTRAP_PEERS),
    "pinned_peers": Texts(_pinned_rule, _MOST_BOOTSTRAP_PEERS),
    # Each connection costs a descriptor or two and some 100 KiB of buffers: ten thousand fill a small server.
    "max_connections": Whole(1, 10_000),
    # Shorter floods the streams with signs of life; longer, and a lost peer stays in the lists for hours.
    "heartbeat_interval": Duration(100 * _MILLISECOND, timedelta(hours=1)),
    "sync_interval": Duration(_SECOND, _DAY),
    "message_timeout": Duration(100 * _MILLISECOND, _DAY),
    "message_time_to_live": Duration(_SECOND, MAX_TIME_TO_LIVE),
    "max_message_size": Whole(1_024, MAX_DIRECT_PAYLOAD),
    "max_file_size": Whole(0, 2**53),
    "outbox_max_messages": Whole(1, 100_000_000),
    # Less than one message of the largest size would refuse some for ever.
    "outbox_max_bytes": Whole(2 * MAX_DIRECT_PAYLOAD, 1024**4),
    "handler_attempts": Whole(1, 100),
    "unhandled_retention": Duration(_SECOND, MAX_TIME_TO_LIVE),
    "record_retention": Duration(_SECOND, timedelta(days=3650)),
    "record_quota": Whole(1, 1_000_000_000),
    # Less than a value or two of the largest size would take some on no node.
    "record_quota_bytes": Whole(2 * MAX_DIRECT_PAYLOAD, 1024**5),
    "store_url": Text(_store_rule),
    "connection_retry.max_retries": Whole(0, 1_000),
    "connection_retry.base_delay": Duration(10 * _MILLISECOND, timedelta(hours=1)),
    "connection_retry.max_delay": Duration(10 * _MILLISECOND, _DAY),
    "gossip_allowance": Whole(1, 1_000_000),
    # An entry has some 500 bytes: a hundred thousand are 50 MB.
    "gossip_log_size": Whole(0, 100_000),
    "log_level": Choice(("debug", "info", "warning", "error", "critical")),
}


def problems_of(name: str, value: object, source: str) -> Iterator[ConfigProblem]:
    """Everything that is wrong with one setting's value."""
    for flaw in SETTINGS[name].flaws(value):
        yield ConfigProblem(name + flaw.where, value_shown(flaw.value), flaw.allowed, source)


def conflicts_of(values: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[ConfigProblem]:
    """What is wrong between settings that are right each by itself: `values` has those alone, and their sources."""
    base, most = "connection_retry.base_delay", "connection_retry.max_delay"
    if base in values and most in values and values[base] > values[most]:
        allowed = f"must not be below {base}, which is {format_duration(values[base])}"
        yield ConfigProblem(most, value_shown(values[most]), allowed, sources[most])


def plain(value: object) -> Any:
    """A value as JSON and TOML have it, to be shown: durations become text, passwords are hidden."""
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, str):
        return without_password(value)
    return list(value) if isinstance(value, tuple) else value


def without_password(value: str) -> str:
    """A text in which the password of a URL is hidden: for everything that is shown, logged or answered."""
    return _PASSWORD.sub(r"\1***\2", value)


def value_shown(value: object) -> str:
    """A value for people, much as TOML writes it, safe for a terminal, with no password in it."""
    value = plain(value)
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return shown("[" + ", ".join(value_shown(item) for item in value) + "]", limit=_LONGEST_VALUE_SHOWN)
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return shown(text, limit=_LONGEST_VALUE_SHOWN)
