"""Addresses of the simulated network: multiaddrs of the usual shapes, with fake ports.

Accepted are `/memory/7`, and `/ip4/127.0.0.1/tcp/9000`, `/ip4/127.0.0.1/udp/9000/quic-v1` and their like, each with or
without `/p2p/<peer id>` at the end. A port (or memory number) 0 asks for a free one.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from covm.federation.errors import InvalidAddress

_SHAPE = re.compile(
    r"""(?P<head>/memory/ | /(?:ip4|ip6|dns|dns4|dns6)/(?P<host>[^/\s]+)/(?:tcp|udp)/)
        (?P<port>\d{1,20})
        (?P<tail>(?:/quic-v1|/wss?)?)
        (?:/p2p/(?P<peer>[1-9A-HJ-NP-Za-km-z]{10,128}))?""",
    re.VERBOSE,
)
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - these are names; nothing is bound


def split_address(address: str) -> tuple[str, str | None]:
    """The address without its `/p2p/<peer id>`, and that peer id. Raises `InvalidAddress`."""
    found = _match(address)
    return found["head"] + found["port"] + found["tail"], found["peer"]


def bound_address(address: str, ports: Iterable[int], taken: Container[str]) -> str | None:
    """The address to which a listener on `address` is bound, or None if it, or every port, is taken.

    Port 0 becomes the first of `ports` that is free, "any host" becomes this one. Raises `InvalidAddress`.
    """
    found = _match(address)
    head, host = found["head"], found["host"]
    if host in _ANY_HOST:
        head = head.replace(f"/{host}/", f"/{_ANY_HOST[host]}/", 1)
    wanted = int(found["port"])
    candidates = (f"{head}{port}{found['tail']}" for port in (ports if wanted == 0 else (wanted,)))
    return next((candidate for candidate in candidates if candidate not in taken), None)


def _match(address: str) -> re.Match[str]:
    found = _SHAPE.fullmatch(address)
    if found is None:
        raise InvalidAddress(address, "the simulated network knows /memory/N and /ip4/HOST/tcp/PORT and their like")
    if "/memory/" not in found["head"] and int(found["port"]) > 65_535:
        raise InvalidAddress(address, f"port {found['port']} is above 65535")
    return found
