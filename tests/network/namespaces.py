"""Network namespaces that a test makes, joins by a cable or by routers, and takes away again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """Two namespaces with a veth between them, 10.99.0.1 and 10.99.0.2, multicast on; gone afterwards."""
    left, right = f"covm-l{os.getpid()}", f"covm-r{os.getpid()}"
    made: list[str] = []
    try:
        for name in (left, right):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "cable", "netns", left, "type", "veth", "peer", "name", "cable", "netns", right)
        for name, address in ((left, "10.99.0.1/24"), (right, "10.99.0.2/24")):
            ip("-n", name, "address", "add", address, "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up", "multicast", "on")
            ip("-n", name, "route", "add", "default", "dev", "cable")
        yield left, right
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@dataclass(frozen=True)
class Internet:
    """A public machine and two homes, each behind a router of its own."""

    public: str
    homes: tuple[str, str]


PUBLIC_IP = "198.51.100.1"

_ROUTER = """
table ip nat {
    chain leaving { type nat hook postrouting priority srcnat; oifname "outside" %s; }
}
table ip filter {
    chain through {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "inside" accept
    }
    chain own { type filter hook input priority filter; policy accept; iifname "outside" ct state new drop; }
}
"""
"""Lets out everything, and in what belongs to it. What comes anew is dropped without a word: a reset would end the
other side's attempt at the same hole."""


@contextmanager
def internet(masquerade: str = "masquerade") -> Iterator[Internet]:
    """A bridge as the internet, with a public machine (PUBLIC_IP) and two routers on it; all gone afterwards.

    `masquerade` is how the routers translate: plain keeps a port for all destinations, `masquerade random` draws one
    for each, as symmetric routers do.
    """
    switch, public, *rest = [f"covm-{name}{os.getpid()}" for name in ("sw", "pub", "ra", "rb", "ha", "hb")]
    routers, homes = rest[:2], rest[2:]
    made: list[str] = []
    try:
        for name in (switch, public, *rest):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for number, name in enumerate((public, *routers), start=1):
            _join(switch, f"port{number}", name, "outside", f"198.51.100.{number}/24")
            ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
        for number, (router, home) in enumerate(zip(routers, homes, strict=True), start=1):
            _join(router, "inside", home, "cable", f"10.8.{number}.2/24")
            ip("-n", router, "address", "add", f"10.8.{number}.1/24", "dev", "inside")
            ip("-n", router, "link", "set", "inside", "up")
            ip("-n", home, "route", "add", "default", "via", f"10.8.{number}.1")
            _within(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            _within(router, "nft", "-f", "-", told=_ROUTER % masquerade)
        yield Internet(public, (homes[0], homes[1]))
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _join(left: str, left_end: str, right: str, right_end: str, address: str) -> None:
    ip("link", "add", left_end, "netns", left, "type", "veth", "peer", "name", right_end, "netns", right)
    ip("-n", right, "address", "add", address, "dev", right_end)
    ip("-n", right, "link", "set", right_end, "up")


def _within(name: str, *words: str, told: str | None = None) -> None:
    subprocess.run(["ip", "netns", "exec", name, *words], check=True, capture_output=True, text=True, input=told)
