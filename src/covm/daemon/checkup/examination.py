"""Everything that can be looked at of a node, from inside and outside, in bounded time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from covm.control import diagnosis
from covm.control.client import ControlClient
from covm.control.failures import ControlError, NoNode
from covm.control.home import SOCKET_PATH_LIMIT, config_path
from covm.daemon.checkup import holders, house, look, outside
from covm.daemon.checkup.side_by_side import done_by
from covm.daemon.checkup.telling import as_told, read_back
from covm.daemon.process import load_config
from covm.federation import FederationConfig
from covm.federation.diagnosis.finding import Area, Finding, Verdict
from covm.federation.errors import ConfigError

DEADLINE_S = 5.0
"""For all checks together, once it is known whether a node runs: each takes milliseconds on a machine that is well."""

NAMES_S = 3.0
"""For names, within that: a resolver that works answers in a fraction of a second."""

MOST_NAMES = 32
"""Names that are looked up at once; a configuration with more is told so."""

Check = Callable[[], list[Finding]]


def examine(home: Path) -> diagnosis.Checkup:
    """Looks at the home, the machine, and the node on it if one runs. Raises nothing that these can cause."""
    node, told = _ask(home)
    config, problem = _config(home)
    checks = {area: partial(_looked, area, check) for area, check in _checks(home, node, config, problem).items()}
    found = done_by(DEADLINE_S, checks)
    findings = [told]
    for area in checks:
        findings += found.get(area) or [
            Finding(area, Verdict.NOT_CHECKED, "it could not be seen in time", f"no answer within {DEADLINE_S:g} s")
        ]
    findings += _unasked(findings) if node is None else read_back(node.findings)
    findings.sort(key=lambda finding: list(Area).index(finding.area))
    return diagnosis.Checkup(
        home=str(home), running=node is not None, verdict=house.verdict_of(findings), findings=as_told(findings)
    )


def _looked(area: Area, check: Check) -> list[Finding]:
    """What a check found, or why this user may not even look."""
    try:
        return check()
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        as_whom = "run it as the user that the node runs as"
        return [Finding(area, Verdict.PROBLEM, "it cannot be looked at", why, as_whom)]


def _ask(home: Path) -> tuple[diagnosis.Diagnosis | None, Finding]:
    """What the node on the home says, and the finding about the node itself."""
    try:
        node = ControlClient(home).diagnosis()
    except NoNode:
        holder = holders.holder_of_lock(home / "lock")
        if holder is None:
            start = f"start it with `covm federation start --home {home}`"
            return None, Finding(Area.NODE, Verdict.NOT_CHECKED, "no node runs on this home", "", start)
        why = f"process {holder} holds the home: it is starting or stopping, or another program uses the home"
        return None, Finding(Area.NODE, Verdict.WARNING, "no node answers on this home", why, "try again in a moment")
    except ControlError as error:
        holder = holders.holder_of_lock(home / "lock")
        look_at = "see the node's log" + (f"; if it says nothing, end it with `kill {holder}`" if holder else "")
        return None, Finding(Area.NODE, Verdict.PROBLEM, "the node cannot be asked", error.message, look_at)
    return node, Finding(Area.NODE, Verdict.OK, f"it runs, process {node.pid}")


def _config(home: Path) -> tuple[FederationConfig | None, str]:
    """The configuration of the home, or what is wrong with it."""
    try:
        return load_config(home, {}), ""
    except ConfigError as error:
        return None, "; ".join(map(str, error.problems))
    except OSError as error:
        return None, f"{error.filename or home}: {error.strerror or error}"


def _checks(
    home: Path, node: diagnosis.Diagnosis | None, config: FederationConfig | None, problem: str
) -> Mapping[Area, Check]:
    """What is looked at beside what the node says of itself."""
    checks: dict[Area, Check] = {
        Area.CONFIGURATION: lambda: [_configuration(home, config, problem, is_running=node is not None)],
        Area.PERMISSIONS: lambda: house.permissions(str(home), look.household(home)),
        Area.SOCKET_PATH: lambda: [_socket_path(home, is_running=node is not None)],
        Area.DISK: lambda: [house.disk(str(home), look.disk(home))],
        Area.CLOCK: lambda: [_clock(home)],
        Area.DNS: partial(_dns, node, config),
    }
    if node is None and config is not None:
        checks[Area.LISTENING] = lambda: outside.ports(look.ports(config.listen_addresses))
        checks[Area.STORE] = lambda: [house.store(look.store(home, config.store_url))]
    return checks


def _configuration(home: Path, config: FederationConfig | None, problem: str, *, is_running: bool) -> Finding:
    path = config_path(home)
    if not home.is_dir():
        return Finding(Area.CONFIGURATION, Verdict.NOT_CHECKED, "there is no home that it could be in")
    is_complete = is_running or config is None or house.is_complete(config.membership, config.federation)
    return house.configuration(str(path), problem, exists=path.exists(), is_complete=is_complete)


def _socket_path(home: Path, *, is_running: bool) -> Finding:
    path = home / "control.sock"
    kind = {True: "socket", False: "other", None: ""}[holders.is_socket(path)]
    return house.socket_path(str(path), len(os.fsencode(path)), SOCKET_PATH_LIMIT, kind, is_running=is_running)


def _clock(home: Path) -> Finding:
    newest, newest_ms = look.newest_file(home)
    return house.clock_against_files(look.now_ms(), newest_ms, newest, look.installed_ms())


def _dns(node: diagnosis.Diagnosis | None, config: FederationConfig | None) -> list[Finding]:
    source = node or config
    if source is None:
        return [Finding(Area.DNS, Verdict.NOT_CHECKED, "no name is known", "the configuration is not valid")]
    settings = dict.fromkeys(outside.names_in(source.bootstrap_peers), "bootstrap_peers")
    settings |= dict.fromkeys(outside.names_in(source.announce_addresses), "announce_addresses")
    wanted = dict(list(settings.items())[:MOST_NAMES])
    unasked = outside.names_in([*source.bootstrap_peers, *source.announce_addresses], ("dnsaddr",))
    return [outside.dns(look.names(wanted, NAMES_S), len(settings) - len(wanted), NAMES_S, unasked)]


def _unasked(findings: Sequence[Finding]) -> list[Finding]:
    """The areas about which only a running node knows, or nobody while the configuration cannot be read."""
    told = {finding.area for finding in findings}
    return [
        Finding(area, Verdict.NOT_CHECKED, "only a running node knows")
        for area in (Area.REACHABILITY, Area.RELAY, Area.PEERS)
    ] + [
        Finding(area, Verdict.NOT_CHECKED, "where it is cannot be told", "the configuration is not valid")
        for area in (Area.LISTENING, Area.STORE)
        if area not in told
    ]
