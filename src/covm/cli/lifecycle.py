"""`covm federation start`, `stop` and `status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import date_time, duration, facts, size
from covm.control import schema
from covm.control.client import ControlClient

if TYPE_CHECKING:
    from covm.daemon.node import RunningNode
    from covm.federation import Identity


SHOWN_FORKERS = 3
"""Nodes that have forked a log, in one line of a status."""

SHOWN_VOID = 3
"""Types of which there are void records, in one line of a status."""


class Ready(schema.Versioned, kw_only=True, frozen=True):
    """The line that `start --json` prints once everything answers."""

    state: str
    name: str
    peer_id: str
    addresses: list[str]
    home: str
    pid: int


class Stopped(schema.Versioned, kw_only=True, frozen=True):
    """The node that was stopped."""

    home: str
    pid: int


def start(
    *,
    name: str | None = None,
    network: str | None = None,
    preset: str | None = None,
    listen: Annotated[list[str] | None, Parameter(negative=())] = None,
    bootstrap: Annotated[list[str] | None, Parameter(negative=())] = None,
    receive: Annotated[list[str] | None, Parameter(negative=())] = None,
    log_level: str | None = None,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Run the node in the foreground until Ctrl-C, SIGTERM or `covm federation stop`.

    Prints one line when it is ready. What it logs goes to standard error. A home without a key gets one.

    Parameters
    ----------
    name
        The name that other nodes see.
    network
        For a trial without members: every node of one network name takes part.
    preset
        Settings for a place: local, lan or wan.
    listen
        A multiaddr to listen on, such as /ip4/0.0.0.0/tcp/9000. May be given several times.
    bootstrap
        A multiaddr of a peer to connect to first. May be given several times.
    receive
        A message type to keep for `covm federation messages`, besides proposals and private messages. May be given
        several times.
    log_level
        debug, info, warning or error.
    passphrase_file
        The passphrase of an encrypted key is the first line of this file. COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE
        with the passphrase itself, are the same; without any it is asked for.
    """
    from covm.cli import key_passphrase
    from covm.cli.federation_errors import as_failures
    from covm.daemon.process import run

    given: dict[str, Any] = {
        "name": name,
        "network": network,
        "membership": None if network is None else "open",
        "preset": preset,
        "listen_addresses": listen,
        "bootstrap_peers": bootstrap,
        "log_level": log_level,
    }
    options = {key: value for key, value in given.items() if value is not None}
    passphrase = key_passphrase.given_for(common.folder, passphrase_file)
    with as_failures():
        run(
            common.folder,
            options,
            receive or [],
            ready=lambda node: _say_ready(node, as_json=common.json),
            identity_made=_say_made,
            passphrase=passphrase,
            ask=lambda: key_passphrase.typed(common),
        )


def stop(*, common: Common = DEFAULT) -> None:
    """Stop the node that runs on the home, and wait until its ports and its home are free."""
    pid = ControlClient(common.folder).stop()
    if common.json:
        say_json(Stopped(home=str(common.folder), pid=pid))
    else:
        say(f"stopped the node on {safe(common.folder)} (process {pid})")


def status(*, common: Common = DEFAULT) -> None:
    """Show who the node is, where it listens, and how it and its store are."""
    answer = ControlClient(common.folder).status()
    if common.json:
        say_json(answer)
        return
    connected = "1 peer" if answer.connected_peers == 1 else f"{answer.connected_peers} peers"
    told: list[tuple[str, object]] = [
        ("name", answer.name),
        ("peer id", answer.peer_id),
        ("did", answer.did_key),
        *(("address", address) for address in answer.addresses),
        ("connected", connected),
        ("membership", _membership_told(answer)),
        ("home", answer.home),
        ("store", _store_told(answer.store)),
        ("incarnation", answer.incarnation),
        ("process", f"{answer.pid}, up for {duration(answer.uptime_ms)}, {answer.software}"),
        *(("notice", _notice(notice)) for notice in answer.notices),
        ("forks", _forks_told(answer.forkers)),
        ("void", _void_told(answer.void)),
        *([("note", answer.warning)] if answer.warning else []),
        *([("clock", answer.clock)] if answer.clock else []),
    ]
    facts(told)


def _membership_told(status: schema.Status) -> str:
    """Who takes part, and whether this node does."""
    if status.membership == "open":
        return f"open, network {status.network}"
    where = status.federation_name or status.federation
    return f"{where}: {status.member or 'nobody'}, {'a member' if status.takes_part else 'no member'} ({status.why})"


def _forks_told(forkers: list[schema.Forker]) -> str:
    """Who has said two things at one place of a log: as many as fit in a line."""
    if not forkers:
        return ""
    told = [f"{each.name or each.peer_id} ({each.forks})" for each in forkers[:SHOWN_FORKERS]]
    more = f" and {len(forkers) - SHOWN_FORKERS} more" if len(forkers) > SHOWN_FORKERS else ""
    count = sum(each.forks for each in forkers)
    return f"{count:,}, by {', '.join(told)}{more}; `covm federation forks` shows them"


def _void_told(void: dict[str, int]) -> str:
    """Records that do not count, of the types that have most of them."""
    if not void:
        return ""
    most = sorted(void.items(), key=lambda each: (-each[1], each[0]))
    told = [f"{count:,} of {name}" for name, count in most[:SHOWN_VOID]]
    more = f" and of {len(most) - SHOWN_VOID} more types" if len(most) > SHOWN_VOID else ""
    return f"{', '.join(told)}{more}; `covm federation records history` says why"


def _store_told(store: schema.StoreStatus) -> str:
    """Where everything lies, and how that is: `SQLite at ..., 1.2 MiB, ok`."""
    told = f"{store.engine}{f' at {store.where}' if store.where else ''}, {size(store.size_bytes)}"
    if store.state == "ok":
        return f"{told}, ok"
    since = "" if store.since is None else f" since {date_time(store.since)}"
    return f"{told}; {store.state}{since}: {store.why}; nothing is acknowledged until that is mended"


def _say_ready(node: RunningNode, *, as_json: bool) -> None:
    import os

    service = node.service
    ready = Ready(
        state="ready",
        name=node.name,
        peer_id=service.peer_id,
        addresses=list(service.addresses),
        home=str(node.home),
        pid=os.getpid(),
    )
    if as_json:
        say_json(ready)
    else:
        addresses = ", ".join(ready.addresses) or "no address"
        say(f"{safe(ready.name)} is ready: peer id {ready.peer_id}, listening on {safe(addresses)}")


def _say_made(identity: Identity) -> None:
    note(f"the home had no key: made one, {identity.peer_id}")


def _notice(notice: schema.Notice) -> str:
    again = f" ({notice.times:,} times)" if notice.times > 1 else ""
    return f"{date_time(notice.time)} {notice.text}{again}"
