"""Network namespaces that a test makes, joins by a cable or by routers, and takes away again.

`cable` is one segment with two machines. `internet` is a network with public machines and two homes behind routers of
their own, over IPv4, IPv6 or both. What runs in a namespace is driven with `tests.conversation`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def within(namespace: str, *words: str, told: str | None = None) -> str:
    """Runs a program in a namespace, with `told` on its input; returns what it printed."""
    argv = ["ip", "netns", "exec", namespace, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, input=told).stdout


@contextmanager
def namespaces(*names: str) -> Iterator[list[str]]:
    """Namespaces of these names and this process's number, with a loopback each; gone afterwards."""
    made: list[str] = []
    try:
        for name in (f"covm-{name}{os.getpid()}" for name in names):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@contextmanager
def name_server(namespace: str, server: str) -> Iterator[None]:
    """What runs in the namespace, and is begun in here, asks this server for names."""
    folder = Path("/etc/netns", namespace)
    folder.mkdir(parents=True)
    try:
        (folder / "resolv.conf").write_text(f"nameserver {server}\n")
        yield
    finally:
        shutil.rmtree(folder)


def silence(namespace: str, *addresses: str) -> None:
    """The machine has these IPv4 addresses too, and never answers there."""
    for address in addresses:
        ip("-n", namespace, "address", "add", f"{address}/24", "dev", "cable")
    within(namespace, "nft", "-f", "-", told=_SILENCE % ", ".join(addresses))


@contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """Two namespaces with a veth between them, 10.99.0.1 and 10.99.0.2, multicast on; gone afterwards."""
    with namespaces("l", "r") as (left, right):
        ip("link", "add", "cable", "netns", left, "type", "veth", "peer", "name", "cable", "netns", right)
        for name, address in ((left, "10.99.0.1/24"), (right, "10.99.0.2/24")):
            ip("-n", name, "address", "add", address, "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up", "multicast", "on")
            ip("-n", name, "route", "add", "default", "dev", "cable")
        yield left, right


@dataclass(frozen=True)
class Internet:
    """Two public machines and two homes, each behind a router of its own: the namespaces' names."""

    public: str
    """At PUBLIC_IP and PUBLIC_IP6."""
    second: str
    """At SECOND_IP and SECOND_IP6."""
    routers: tuple[str, str]
    """Outside at 198.51.100.3 and .4, or 2001:db8::3 and ::4."""
    homes: tuple[str, str]
    """At 10.8.1.2 and 10.8.2.2, or 2001:db8:1::2 and 2001:db8:2::2."""


PUBLIC_IP, SECOND_IP = "198.51.100.1", "198.51.100.2"
PUBLIC_IP6, SECOND_IP6 = "2001:db8::1", "2001:db8::2"

_SILENCE = """
table ip silence {
    chain entering { type filter hook input priority filter; policy accept; ip daddr { %s } drop; }
}
"""

_MASQUERADE = """
table ip nat {
    chain leaving { type nat hook postrouting priority srcnat; oifname "outside" %s; }
}
"""

_FORWARD = """
table ip forwarded {
    chain entering { type nat hook prerouting priority dstnat; iifname "outside" %s dport %d dnat to %s; }
}
"""

_FILTER = """
table inet filter {
    chain through {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct status dnat accept
        iifname "inside" accept
    }
    chain own { type filter hook input priority filter; policy accept; iifname "outside" ct state new drop; }
}
"""
"""Lets out everything, and in what belongs to it or to a forwarded port. What comes anew is dropped without a word: a
reset would end the other side's attempt at the same hole."""


def translate(router: str, masquerade: str) -> None:
    """How a router translates new flows from now on; those that stand keep their ports.

    `masquerade` keeps a port for all destinations, `masquerade random` draws one for each, as symmetric routers do.
    """
    within(router, "nft", "-f", "-", told="add table ip nat\ndelete table ip nat\n" + _MASQUERADE % masquerade)


def forward_port(router: str, transport: str, port: int, home: str) -> None:
    """Opens a port to a home's address, as an operator does by hand."""
    within(router, "nft", "-f", "-", told=_FORWARD % (transport, port, home))


@contextmanager
def internet(masquerade: str = "masquerade", *, ip4: bool = True, ip6: bool = False) -> Iterator[Internet]:
    """A bridge as the internet, with two public machines and two routers on it; all gone afterwards.

    `masquerade` is how the routers translate IPv4 (see `translate`). IPv6 is routed as it is, and as with IPv4 the
    routers let nothing in that was not asked for.
    """
    with namespaces("sw", "pub", "sec", "ra", "rb", "ha", "hb") as (switch, public, second, ra, rb, ha, hb):
        net = Internet(public, second, (ra, rb), (ha, hb))
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for number, name in enumerate((public, second, *net.routers), start=1):
            ip(
                "link",
                "add",
                f"port{number}",
                "netns",
                switch,
                "type",
                "veth",
                "peer",
                "name",
                "outside",
                "netns",
                name,
            )
            ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            _address(name, "outside", f"198.51.100.{number}/24" * ip4, f"2001:db8::{number}/64" * ip6)
        for number, (router, home) in enumerate(zip(net.routers, net.homes, strict=True), start=1):
            ip("link", "add", "inside", "netns", router, "type", "veth", "peer", "name", "cable", "netns", home)
            _address(router, "inside", f"10.8.{number}.1/24" * ip4, f"2001:db8:{number}::1/64" * ip6)
            _address(home, "cable", f"10.8.{number}.2/24" * ip4, f"2001:db8:{number}::2/64" * ip6)
            within(router, "nft", "-f", "-", told=_FILTER)
            if ip4:
                ip("-n", home, "route", "add", "default", "via", f"10.8.{number}.1")
                within(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
                translate(router, masquerade)
            if ip6:
                ip("-n", home, "route", "add", "default", "via", f"2001:db8:{number}::1")
                within(router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
                for name in {public, second, *net.routers} - {router}:
                    ip("-n", name, "route", "add", f"2001:db8:{number}::/64", "via", f"2001:db8::{number + 2}")
        yield net


def _address(name: str, device: str, *addresses: str) -> None:
    """Gives a device those addresses that are not empty, and switches it on."""
    ip("-n", name, "link", "set", device, "up")
    for address in filter(None, addresses):
        # An IPv6 address would first ask for a second whether another machine has it.
        ip("-n", name, "address", "add", address, "dev", device, *["nodad"] * (":" in address))
