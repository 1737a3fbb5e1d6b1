"""Rules about what a node needs of its machine and of the network: names, and ports to listen on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from covm.federation.diagnosis.finding import Area, Finding, Verdict, shortened

SHOWN = 3
"""Names or addresses in a sentence."""

NAMES = ("dns", "dns4", "dns6")
"""What begins a name in a multiaddr."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name in an address of the configuration, and what looking it up gave."""

    name: str
    setting: str
    """Where it stands: `bootstrap_peers` or `announce_addresses`."""
    resolves: bool
    why: str = ""
    """What the resolver said; empty where it said nothing in time."""


@dataclass(frozen=True, slots=True)
class Port:
    """A place to listen, and what became of trying it."""

    address: str
    trouble: str = ""
    """`taken`, `denied`, `absent` (no such address on this machine) or `other`; empty where it is free."""
    why: str = ""
    holder: str = ""
    """Who has it, where that can be told."""


def names_in(addresses: Sequence[str], kinds: Sequence[str] = NAMES) -> list[str]:
    """The names in multiaddrs, each once, in order."""
    parts = [address.split("/") for address in addresses]
    return list(dict.fromkeys(part[2] for part in parts if len(part) > 2 and part[1] in kinds))


def dns(names: Sequence[Name], left_out: int = 0, deadline_s: float = 0.0, unasked: Sequence[str] = ()) -> Finding:
    """Whether the names of the configuration lead to addresses. `unasked` are those of /dnsaddr."""
    if not names and not unasked:
        return Finding(Area.DNS, Verdict.OK, "no address of the configuration has a name in it")
    if not names:
        return Finding(
            Area.DNS,
            Verdict.NOT_CHECKED,
            f"/dnsaddr names are not looked up here: {shortened(list(unasked), SHOWN)}",
            "they stand for addresses in TXT records, which the node asks for when it dials",
            f"`host -t TXT _dnsaddr.{unasked[0]}` shows them",
        )
    lost = [name for name in names if not name.resolves]
    more = f"{left_out + len(unasked)} more were not looked up" if left_out or unasked else ""
    if not lost:
        return Finding(Area.DNS, Verdict.OK, f"{shortened([name.name for name in names], SHOWN)}: resolved", more)
    reasons = [f"{name.name}: {name.why or f'no answer within {deadline_s:g} s'}" for name in lost]
    is_announced = any(name.setting == "announce_addresses" for name in lost)
    is_silent = not any(name.why for name in lost)
    return Finding(
        Area.DNS,
        Verdict.PROBLEM if is_announced or len(lost) == len(names) else Verdict.WARNING,
        f"{shortened([f'{name.name} (of {name.setting})' for name in lost], SHOWN)} cannot be looked up",
        "; ".join(filter(None, [shortened(reasons, SHOWN), more])),
        "look at this machine's resolver: /etc/resolv.conf, `resolvectl status`, and whether it is online"
        if is_silent
        else "correct the name, or use the address it stands for; `getent ahosts NAME` shows what this machine finds",
    )


def ports(tried: Sequence[Port]) -> list[Finding]:
    """Whether a node that does not run could listen where it is told to."""
    if not tried:
        return [
            Finding(
                Area.LISTENING,
                Verdict.WARNING,
                "it would listen nowhere, and only dial others",
                "listen_addresses is empty",
                "leave listen_addresses out of the configuration to listen on port 9000",
            )
        ]
    wrong = [_unusable(port) for port in tried if port.trouble]
    return wrong or [
        Finding(Area.LISTENING, Verdict.OK, f"{shortened([port.address for port in tried], SHOWN)} can be listened on")
    ]


def _unusable(port: Port) -> Finding:
    what, next_step = {
        "taken": (
            f"{port.address} is taken",
            "stop what listens there, or choose another port with listen_addresses",
        ),
        "denied": (
            f"{port.address} may not be used by this user",
            "choose a port above 1023 with listen_addresses",
        ),
        "absent": (
            f"{port.address} is no address of this machine",
            "choose one that `ip address` shows, or 0.0.0.0 for all of them, with listen_addresses",
        ),
    }.get(port.trouble, (f"{port.address} cannot be listened on", "correct listen_addresses"))
    return Finding(Area.LISTENING, Verdict.PROBLEM, what, port.holder or port.why, next_step)
