"""Three places where a node may run, and what fits each better than the defaults."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # Nodes of one machine: demo, trials, tests. Nothing outside hears of them; free ports, so that many run at once.
    "local": {
        "listen_addresses": ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"],
        "enable_mdns": False,
        "reachability": "public",
        "enable_relay": False,
        "enable_hole_punching": False,
        "enable_upnp": False,
        "heartbeat_interval": timedelta(seconds=5),
        "connection_retry.base_delay": timedelta(milliseconds=200),
        "connection_retry.max_delay": timedelta(seconds=5),
    },
    # One office or house: mDNS finds the others, every address reaches everyone, no router between, and losses are
    # noticed sooner.
    "lan": {
        "enable_mdns": True,
        "reachability": "public",
        "enable_relay": False,
        "enable_hole_punching": False,
        "enable_upnp": False,
        "heartbeat_interval": timedelta(seconds=10),
        "connection_retry.max_delay": timedelta(seconds=15),
    },
    # A rented server: the neighbours on its network are strangers, no router stands before it, and there is room for
    # more connections.
    "wan": {
        "enable_mdns": False,
        "enable_upnp": False,
        "max_connections": 200,
    },
}
"""Settings by preset; what a preset does not name keeps its default."""


def preset_settings(name: object) -> Mapping[str, Any]:
    """A preset's settings. Raises `ValueError` naming the presets there are."""
    if isinstance(name, str) and name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(str(name), PRESETS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"must be one of {', '.join(PRESETS)}{hint}")
