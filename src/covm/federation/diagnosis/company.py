"""The peers of a node: whether it may take part, whom it is connected to, whether their clocks agree with its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from covm.federation.diagnosis.finding import Area, Finding, Verdict, shortened
from covm.federation.peers.clocks import WRONG_MS, middle
from covm.federation.peers.health import MAX_OFFSET_MS

SHOWN_PEERS = 5
"""Peers named in a sentence; `covm federation peers` has all."""

SHOWN_ERRORS = 3
"""Different errors named: more of them have more than one cause, and the list of peers tells them apart."""

SET_CLOCK = "set this machine's clock, and keep it set: `timedatectl set-ntp true`, or chrony"


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What is known of one peer."""

    name: str
    """As it is shown: its name, or the end of its id."""
    is_connected: bool
    is_suspect: bool
    is_kept: bool
    """Whether it is dialled again whenever it is lost."""
    last_error: str
    """Why the last try to reach it failed."""
    clock_offset_ms: float | None
    """How far its clock is ahead."""
    relayed_why: str = ""
    """Why it is connected through a relay alone; empty for one that is not."""


@dataclass(frozen=True, slots=True)
class Company:
    """What is known of the peers of a node."""

    peers: tuple[Acquaintance, ...]
    takes_part: bool
    """Whether this node may take part in its federation, as far as it knows."""
    standing: str
    """Why it may, or may not."""
    searches: tuple[str, ...]
    """How it finds peers by itself: the settings that are on."""

    @property
    def connected(self) -> list[Acquaintance]:
        return [peer for peer in self.peers if peer.is_connected]


def peers(company: Company) -> list[Finding]:
    """Whether the node is among others, and what is wrong with those that it should see."""
    if not company.takes_part:
        return [
            Finding(
                Area.PEERS,
                Verdict.PROBLEM,
                "this node may not take part in its federation",
                company.standing,
                "`covm federation whoami` shows whose it is; a member lets it in with `covm federation invite`",
            )
        ]
    if not company.connected:
        return [_alone(company)]
    findings = [_among(company.connected)]
    lost = [peer for peer in company.peers if peer.is_kept and not peer.is_connected]
    if lost:
        findings.append(
            Finding(
                Area.PEERS,
                Verdict.WARNING,
                f"{shortened([peer.name for peer in lost], SHOWN_PEERS)} cannot be reached",
                _errors(lost),
                "it is tried again by itself; `covm federation peers` shows each, with its next try",
            )
        )
    return findings


def clock(company: Company) -> Finding:
    """Whether this node's clock agrees with those of its peers."""
    offsets = [
        (peer.name, peer.clock_offset_ms) for peer in company.connected if peer.clock_offset_ms is not None
    ]  # names are the peers' own words: two may have one
    if not offsets:
        return Finding(Area.CLOCK, Verdict.NOT_CHECKED, "no peer is connected whose clock could be compared")
    apart = [(name, offset) for name, offset in offsets if abs(offset) > WRONG_MS]
    if not apart:
        return Finding(Area.CLOCK, Verdict.OK, f"it agrees with the clocks of {_count(len(offsets), 'peer')}")
    apart_ms = middle([offset for _, offset in offsets])
    if len(offsets) > 1 and abs(apart_ms) > WRONG_MS:
        return Finding(
            Area.CLOCK,
            Verdict.PROBLEM if abs(apart_ms) > MAX_OFFSET_MS else Verdict.WARNING,
            f"this machine's clock is {_span(apart_ms)} {'behind' if apart_ms > 0 else 'ahead of'} those of most peers",
            f"of {len(offsets)} peers, {len(apart)} differ by more than {WRONG_MS / 1000:g} s",
            SET_CLOCK,
        )
    told = [f"that of {name} is {_span(offset)} {'ahead' if offset > 0 else 'behind'}" for name, offset in apart]
    is_between_two = len(offsets) == 1
    return Finding(
        Area.CLOCK,
        Verdict.WARNING,
        f"not all clocks agree with this machine's: {shortened(told, SHOWN_PEERS)}",
        "one of the two is wrong" if is_between_two else "most peers agree with this machine's clock",
        SET_CLOCK if is_between_two else "tell their operators",
    )


def _among(connected: list[Acquaintance]) -> Finding:
    names = shortened([peer.name for peer in connected], SHOWN_PEERS)
    suspects = [peer.name for peer in connected if peer.is_suspect]
    if suspects:
        return Finding(
            Area.PEERS,
            Verdict.WARNING,
            f"of {_count(len(connected), 'connected peer')}, {shortened(suspects, SHOWN_PEERS)} missed heartbeats",
            "it has stopped, or the way to it is cut",
            "wait a minute: it comes back, or is dialled again",
        )
    relayed = [f"{peer.name} ({peer.relayed_why})" for peer in connected if peer.relayed_why]
    why = f"through a relay: {shortened(relayed, SHOWN_PEERS)}" if relayed else ""
    return Finding(Area.PEERS, Verdict.OK, f"{_count(len(connected), 'peer')} connected: {names}", why)


def _alone(company: Company) -> Finding:
    connect = "connect to one with `covm federation connect ADDRESS`"
    if company.peers:
        return Finding(
            Area.PEERS,
            Verdict.PROBLEM,
            f"none of {_count(len(company.peers), 'known peer')} is connected",
            _errors(company.peers) or "none of them has been tried",
            f"look at each with `covm federation peers`, or {connect}",
        )
    if company.searches:
        return Finding(
            Area.PEERS,
            Verdict.WARNING,
            "no peer is known yet",
            f"nobody was found so far by {', '.join(company.searches)}",
            connect,
        )
    return Finding(
        Area.PEERS,
        Verdict.WARNING,
        "no peer is known, and none is looked for",
        "bootstrap_peers is empty, and enable_mdns is off",
        f"{connect}, or name members' addresses in bootstrap_peers",
    )


def _errors(peers: list[Acquaintance] | tuple[Acquaintance, ...]) -> str:
    """Why they could not be reached, the most frequent first."""
    errors = Counter(peer.last_error for peer in peers if peer.last_error)
    return shortened([error for error, _ in errors.most_common()], SHOWN_ERRORS)


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _span(offset_ms: float) -> str:
    size_s = abs(offset_ms) / 1000
    if size_s < 120:
        return f"{size_s:.1f} s"
    if size_s < 2 * 3600:
        return f"{size_s / 60:.0f} min"
    return f"{size_s / 3600:.0f} h" if size_s < 2 * 86400 else f"{size_s / 86400:.0f} days"
