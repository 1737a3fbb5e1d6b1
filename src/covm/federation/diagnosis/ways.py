"""Where a node listens, whether others reach it there, and through whom they do otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from covm.federation.diagnosis.finding import Area, Finding, Verdict, shortened
from covm.federation.reachability import OwnAddress, Punch, Reachability, RelayPlace

SHOWN_ADDRESSES = 3
"""Addresses named in a sentence; `covm federation status` has all."""

SHOWN_RELAYS = 3
"""Relays named in a sentence: a node has places at two, and asks a few more when those refuse."""

DISTINCT_PEERS = 2
"""Failures with one peer may be the peer's router; with two that have nothing to do with each other, they are ours."""

RECENT_MS = 3_600_000
"""A failure so long ago tells of the routers that were there then."""

ANNOUNCE = "name the outside address in announce_addresses, such as /ip4/203.0.113.5/tcp/9000"


@dataclass(frozen=True, slots=True)
class Ways:
    """What is known of the ways to a node."""

    configured: tuple[str, ...]
    """`listen_addresses`."""
    listening: tuple[str, ...]
    """Where it listens, as far as that worked."""
    announced: tuple[str, ...]
    """`announce_addresses`."""
    reachability: Reachability
    connected: int
    """Peers that are connected."""
    now_ms: int
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of peers by peer id."""
    relayed: frozenset[str] = frozenset()
    """Peers that are connected through a relay alone."""

    def name(self, peer: str) -> str:
        return self.names.get(peer) or f"...{peer[-8:]}"

    def ago(self, at_ms: int) -> str:
        """How long ago something was, in the coarsest unit that says it."""
        for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
            if self.now_ms - at_ms >= milliseconds:
                return f"{(self.now_ms - at_ms) // milliseconds} {unit} ago"
        return f"{max(self.now_ms - at_ms, 0) // 1000} s ago"

    @property
    def is_local(self) -> bool:
        """Whether it listens on this machine alone."""
        return bool(self.listening) and all(_is_loopback(address) for address in self.listening)

    @property
    def is_ipv6_only(self) -> bool:
        outside = [address for address in self.listening if not _is_loopback(address)]
        return bool(outside) and all(address.startswith("/ip6/") for address in outside)

    @property
    def places(self) -> list[RelayPlace]:
        """Places at relays that stand."""
        return [place for place in self.reachability.relays if place.state == "accepted"]


def listening(ways: Ways) -> Finding:
    """Whether the node listens where it was told to."""
    if ways.listening:
        return Finding(Area.LISTENING, Verdict.OK, f"it listens on {_addresses(ways.listening)}")
    if ways.configured:
        return Finding(
            Area.LISTENING,
            Verdict.PROBLEM,
            "it listens nowhere",
            f"the interfaces of {_addresses(ways.configured)} are gone",
            "look at this machine's interfaces with `ip address`, and restart the node",
        )
    return Finding(
        Area.LISTENING,
        Verdict.WARNING,
        "it listens nowhere, and only dials others",
        "listen_addresses is empty",
        "leave listen_addresses out of the configuration to listen on port 9000",
    )


def reachability(ways: Ways) -> Finding:
    """Whether others can connect to the node, and how."""
    known = ways.reachability
    if not ways.listening:
        if ways.places:
            return _reach(Verdict.OK, f"it listens nowhere, and others reach it through {_through(ways)}")
        return _reach(Verdict.NOT_CHECKED, "nobody can connect to a node that listens nowhere")
    if ways.is_local:
        return _reach(
            Verdict.OK,
            "programs on this machine reach it, and nobody else",
            "listen_addresses names this machine alone",
            "to be reached from elsewhere, take the preset lan or wan, or listen on /ip4/0.0.0.0/tcp/9000",
        )
    if (refuted := _refuted(ways)) is not None:
        return _reach(
            Verdict.PROBLEM,
            f"others are told {refuted.address}, and cannot reach it there",
            refuted.detail or "a peer has tried",
            f"forward {_ports(ways)} to this machine in the router, or correct announce_addresses",
        )
    if known.setting == "private":
        how = (
            f"they reach it through {_through(ways)}"
            if ways.places
            else "nobody reaches it: it has no place at a relay"
        )
        return _reach(Verdict.OK, f"it is set private: it dials others, and {how}")
    if known.reached == "public" or known.setting == "public":
        return _public(ways)
    if known.reached == "private":
        return _behind_router(ways)
    return _unknown(ways)


def relay(ways: Ways) -> Finding:
    """Whether the node needs a relay, and has one."""
    known = ways.reachability
    if not ways.places and (ways.is_local or known.setting == "public" or known.reached == "public"):
        return Finding(Area.RELAY, Verdict.OK, "none is needed")
    refusals = [f"{ways.name(each.relay)}: {each.why or each.state}" for each in known.relays if not each.address]
    if ways.places:
        why = f"others have none for it ({shortened(refusals, SHOWN_RELAYS)})" if refusals else ""
        return Finding(Area.RELAY, Verdict.OK, f"it has a place at {_through(ways)}", why)
    asked = [ways.name(place.relay) for place in known.relays if place.state == "asking"]
    if asked:
        return Finding(
            Area.RELAY, Verdict.NOT_CHECKED, f"it is asking {shortened(asked, SHOWN_RELAYS)} for a place", "", _LATER
        )
    if known.reached != "private" and known.setting != "private":
        return Finding(Area.RELAY, Verdict.NOT_CHECKED, "nobody knows yet whether it needs one", _why_unknown(ways))
    return Finding(
        Area.RELAY,
        Verdict.WARNING if known.setting == "private" else Verdict.PROBLEM,
        "it has no place at a relay",
        shortened(refusals, SHOWN_RELAYS) or "none of the peers that are connected relays for others",
        "connect to a member's node that others can reach (`covm federation connect ADDRESS`), or have a member run "
        'one with reachability = "public"',
    )


def ways_findings(ways: Ways) -> list[Finding]:
    """Everything about the ways to a node."""
    return [listening(ways), reachability(ways), relay(ways)]


def _through(ways: Ways) -> str:
    """The relays at which it has places."""
    return shortened([ways.name(place.relay) for place in ways.places], SHOWN_RELAYS)


_LATER = "ask again in a minute"


def _reach(verdict: Verdict, what: str, why: str = "", next_step: str = "") -> Finding:
    return Finding(Area.REACHABILITY, verdict, what, why, next_step)


def _public(ways: Ways) -> Finding:
    confirmed = [address for address in ways.reachability.addresses if address.state == "confirmed"]
    direct = {source: [each.address for each in confirmed if each.source == source] for source in _DIRECT}
    if tried := direct["autonat"]:
        what, why = f"others reach it at {_addresses(tried)}", "peers have tried it"
    elif opened := direct["upnp"]:
        what, why = f"others reach it at {_addresses(opened)}", "the router opened a port for it (UPnP)"
    elif stated := direct["announced"]:
        what, why = f"others are told {_addresses(stated)}", "announce_addresses says so; no peer has objected"
    elif all(_is_private(address) for address in ways.listening):
        return _reach(
            Verdict.OK,
            "nodes of the same local network reach it, and nobody else",
            "it is set public, and has addresses of a local network alone",
            f"to be reached from elsewhere, forward {_ports(ways)} to this machine in the router and {ANNOUNCE}",
        )
    else:
        what, why = f"others are told {_addresses(_global(ways.listening))}", "it is set public; nobody tests that"
    if all(address.startswith("/ip6/") for source in _DIRECT for address in direct[source]) and ways.is_ipv6_only:
        why += "; over IPv6 alone: peers without it need a relay in common with this node"
    return _reach(Verdict.OK, what, why)


_DIRECT = ("autonat", "upnp", "announced")


def _behind_router(ways: Ways) -> Finding:
    """Others have tried in vain."""
    known = ways.reachability
    why = "; ".join(filter(None, [_wall(ways), f"UPnP: {known.upnp}" if known.upnp else ""]))
    if not ways.places:
        return _reach(Verdict.PROBLEM, "nobody can connect to it", why, _door(ways))
    through = _through(ways)
    worked = [punch for punch in known.punches if punch.worked]
    failed = [punch for punch in known.punches if not punch.worked and _still_counts(ways, punch)]
    if worked:
        peers = shortened([ways.name(punch.peer) for punch in worked], SHOWN_RELAYS)
        direct = f"direct connections were made through both routers with {peers}"
        apart = shortened([f"{ways.name(punch.peer)}: {punch.why}" for punch in failed], SHOWN_RELAYS)
        why = f"{why}; {direct}" + (f"; not with {apart}" if apart else "")
        return _reach(Verdict.OK, f"others reach it through {through}, and then directly", why)
    if failed:
        return _reach(
            Verdict.WARNING, f"it stays relayed, through {through}", f"{why}; {_why_relayed(ways, failed)}", _door(ways)
        )
    return _reach(Verdict.OK, f"others reach it through {through}", why, f"to be reached directly, {_door(ways)}")


def _still_counts(ways: Ways, punch: Punch) -> bool:
    """Whether a failure says something of today's routers: of a peer that is relayed now, or of the last hour."""
    return punch.peer in ways.relayed or ways.now_ms - punch.at_ms <= RECENT_MS


def _why_relayed(ways: Ways, failed: list[Punch]) -> str:
    """What no direct connection says about the routers: a guess, and said as one."""
    newest = failed[0]
    told = f"no direct connection with {ways.name(newest.peer)} {ways.ago(newest.at_ms)}: {newest.why}"
    before = [punch for punch in failed if punch.worked_ms is not None]
    if before:
        latest = max(punch.worked_ms or 0 for punch in before)
        told += f"; the last one that worked was {ways.ago(latest)}, so a router has been changed since"
    if len({punch.peer for punch in failed}) >= DISTINCT_PEERS:
        return (
            f"{told}; as it failed with {len(failed)} peers, this router probably gives each destination another port "
            "(symmetric NAT), where no hole can be punched"
        )
    return f"{told}; this router or the peer's gives each destination another port (symmetric NAT), or blocks them"


def _unknown(ways: Ways) -> Finding:
    if ways.places:
        return _reach(Verdict.OK, f"others reach it through {_through(ways)}", _why_unknown(ways))
    return _reach(Verdict.NOT_CHECKED, "nobody knows yet whether others reach it", _why_unknown(ways), _LATER)


def _why_unknown(ways: Ways) -> str:
    return "no peer has tried to connect to it yet" if ways.connected else "no peer is connected that could try"


def _wall(ways: Ways) -> str:
    if ways.is_ipv6_only:
        return "a firewall, most likely the router's, lets nobody in over IPv6"
    tried = [each for each in ways.reachability.addresses if each.state == "unreachable" and each.detail]
    return f"a router or firewall lets nobody in{f' ({tried[0].detail})' if tried else ''}"


def _door(ways: Ways) -> str:
    """How to open the way from outside."""
    if ways.is_ipv6_only:
        return f"allow {_ports(ways)} to this machine in the router's IPv6 firewall; nothing has to be forwarded"
    return f"forward {_ports(ways)} to this machine in the router and {ANNOUNCE}, or turn UPnP on in the router"


def _refuted(ways: Ways) -> OwnAddress | None:
    """An address that the operator states and that a peer could not reach; unless another works."""
    known = ways.reachability.addresses
    if any(each.state == "confirmed" and each.source in ("autonat", "upnp") for each in known):
        return None
    stated = {_plain(address) for address in ways.announced}
    return next((each for each in known if each.state == "unreachable" and _plain(each.address) in stated), None)


def _ports(ways: Ways) -> str:
    """The ports at which it listens, as routers' pages call them: `TCP port 9000 and UDP port 9000`."""
    ports = {
        f"{parts[at].upper()} port {parts[at + 1]}": None
        for parts in (address.split("/") for address in ways.listening if not _is_loopback(address))
        for at in range(len(parts) - 1)
        if parts[at] in ("tcp", "udp")
    }
    return " and ".join(ports) or "its port"


def _addresses(addresses: tuple[str, ...] | list[str]) -> str:
    return shortened([_plain(address) for address in addresses], SHOWN_ADDRESSES)


def _plain(address: str) -> str:
    """Without this node's own id at its end."""
    return address if "/p2p-circuit" in address else address.partition("/p2p/")[0]


def _global(addresses: tuple[str, ...]) -> list[str]:
    return [address for address in addresses if not _is_private(address)]


def _ips(address: str) -> Iterator[str]:
    parts = address.split("/")
    yield from (parts[2:3] if parts[1:2] in (["ip4"], ["ip6"]) else ())


def _is_loopback(address: str) -> bool:
    return any(ip_address(ip).is_loopback for ip in _ips(address))


def _is_private(address: str) -> bool:
    return any(not ip_address(ip).is_global for ip in _ips(address))
