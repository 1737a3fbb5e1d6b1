"""What an address says by itself: where it leads, by what, and whether it can lead anywhere from here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Host = IPv4Address | IPv6Address

PRIVATE = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("169.254.0.0/16"),
    IPv6Network("fc00::/7"),
)
"""Networks of which there are many: the same address leads to somebody else elsewhere (RFC 1918, 6598, 3927, 4193)."""

NEIGHBOURHOOD_BITS = {4: 16, 6: 48}
"""Private addresses that begin alike are taken to be of one network: sites seldom use more than a /16 or a /48.
Netmasks are not known here, and a wrong guess costs a place in the order, nothing more."""

KEPT_PLACES = 4_096
"""Addresses that are not read anew each time: this node's own, and those of the peers that it has to do with."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address leads. `host` is None where a name stands for it; that of the relay, where there is one."""

    host: Host | None
    port: int | None
    is_quic: bool
    is_relayed: bool

    @property
    def family(self) -> int:
        """4, 6, or 0 for a name."""
        return 0 if self.host is None else self.host.version


@lru_cache(maxsize=KEPT_PLACES)
def place_of(address: str) -> Place:
    """Reads a multiaddr that the core takes; of other forms, what is plain to see."""
    parts = address.split("/")[1:]
    host = _host(*parts[:2]) if len(parts) > 1 else None
    port = int(parts[3]) if len(parts) > 3 and parts[2] in ("tcp", "udp") and parts[3].isdecimal() else None
    return Place(host, port, "quic-v1" in parts, "p2p-circuit" in parts)


def why_unroutable(address: str, *, near: bool) -> str:
    """Why nobody can be dialled there, as the end of a sentence; empty when somebody may.

    `near`: whoever named it is on this machine, or is who runs it, so that loopback is the same to both.
    """
    place = place_of(address)
    if place.port == 0:
        return "port 0 stands for any free port; nobody can be dialled there"
    host = place.host
    if host is None:
        return ""
    if host.is_unspecified:
        return f"{host} stands for every address of a machine; nobody can be dialled there"
    if host.is_multicast:
        return f"{host} is a multicast address; no single machine has it"
    if host.version == 4 and host.is_reserved:
        return f"{host} is reserved; no machine has it"
    if host.is_link_local:
        return f"{host} is link-local: without an interface it says nothing"
    if host.is_loopback and not near:
        return f"{host} is the loopback address of another machine"
    return ""


def is_loopback(address: str) -> bool:
    """Whether an address leads to this machine, whatever machine that is; so does one without a host, of a test."""
    host = place_of(address).host
    return host.is_loopback if host is not None else address.startswith("/memory/")


def hosts_of(addresses: Iterable[str]) -> frozenset[Host]:
    """The hosts that these addresses name; a relay is somebody else's."""
    places = map(place_of, addresses)
    return frozenset(place.host for place in places if place.host is not None and not place.is_relayed)


def is_of_a_house(address: str) -> bool:
    """Whether an address leads to somebody else, or nowhere, from another house."""
    host = place_of(address).host
    if host is None:
        name = _name(address)
        return name.endswith(".local")
    if host.is_loopback or host.is_unspecified or host.is_link_local:
        return True
    return any(host in network for network in PRIVATE if network.version == host.version)


def network_of(address: str) -> str:
    """What the addresses of one network have in common: one cable, one company, one power cut."""
    host = place_of(address).host
    if host is None:
        return _name(address)
    return str(ip_network((host, 24 if host.version == 4 else 48), strict=False))


def is_elsewhere(place: Place, own: Collection[Host]) -> bool:
    """Whether an address is of a private network that none of our own hosts is on, as far as that can be told."""
    host = place.host
    if host is None or not any(host in network for network in PRIVATE if network.version == host.version):
        return False
    return not any(ours.version == host.version and _neighbourhood(ours) == _neighbourhood(host) for ours in own)


def _neighbourhood(host: Host) -> int:
    return int(host) >> (host.max_prefixlen - NEIGHBOURHOOD_BITS[host.version])


def _name(address: str) -> str:
    """The name in the place of a host; empty without one."""
    parts = address.split("/")
    return parts[2].lower() if len(parts) > 2 else ""


def _host(kind: str, text: str) -> Host | None:
    if kind.startswith("dns"):
        # RFC 6761: whoever is asked, these names stand for loopback.
        name = text.lower().rstrip(".")
        return IPv4Address("127.0.0.1") if name == "localhost" or name.endswith(".localhost") else None
    try:
        host = ip_address(text) if kind in ("ip4", "ip6") else None
    except ValueError:
        return None
    mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    return mapped or host
