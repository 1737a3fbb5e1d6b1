"""Gathers what can be seen of a home and its machine. Changes nothing; each function may block and is given a deadline
by who calls it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import covm
from covm.control.home import key_path
from covm.daemon.checkup.holders import holder_of_port
from covm.daemon.checkup.house import Disk, Entry, Household, StoreSeen
from covm.daemon.checkup.outside import Name, Port
from covm.daemon.checkup.side_by_side import done_by
from covm.federation.config.settings import without_password
from covm.federation.errors import StoreError, StoreUnavailable
from covm.federation.store import glance_at_home, has_store

MOST_FILES = 1_000
"""Files whose times are looked at: the store's are among the first."""

_TROUBLES = {
    errno.EADDRINUSE: "taken",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EADDRNOTAVAIL: "absent",
}

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_FAMILIES = {"ip4": socket.AF_INET, "ip6": socket.AF_INET6}


def household(home: Path) -> Household:
    """What lies in the home."""
    try:
        folder = _entry(home)
        if folder is None or not folder.is_folder:
            return Household(folder, None, (), has_store=False)
        members = home / "member"
        secrets = [members, *(members.iterdir() if members.is_dir() else ())]
        found = tuple(entry for entry in map(_entry, secrets) if entry is not None)
        return Household(folder, _entry(key_path(home)), found, has_store(home))
    except OSError as error:
        return Household(None, None, (), has_store=False, why=error.strerror or str(error))


def disk(home: Path) -> Disk:
    """The disk of the home, or on which it would be made."""
    place = next(each for each in (home, *home.parents) if each.exists())
    told = os.statvfs(place)
    return Disk(
        free_bytes=told.f_bavail * told.f_frsize,
        free_files=told.f_favail if told.f_files else None,
        is_read_only=bool(told.f_flag & os.ST_RDONLY),
    )


def newest_file(home: Path) -> tuple[str, int]:
    """The file of the home that was written last, and when, in milliseconds since 1970-01-01 UTC; "" and 0 for none."""
    newest, newest_ms = "", 0
    for count, path in enumerate(home.iterdir() if home.is_dir() else ()):
        try:
            written_ms = path.lstat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            continue  # it was there a moment ago
        if written_ms > newest_ms:
            newest, newest_ms = str(path), written_ms
        if count == MOST_FILES:
            break
    return newest, newest_ms


def installed_ms() -> int:
    """When this covm was put on the machine."""
    return Path(covm.__file__).stat().st_mtime_ns // 1_000_000


def now_ms() -> int:
    """What the clock shows."""
    return time.time_ns() // 1_000_000


def store(home: Path, url: str) -> StoreSeen:
    """The store of a home, or behind the URL, as it opens for reading."""
    where = without_password(url) or str(home / "store.db")
    if not url and not has_store(home):
        return StoreSeen(where, "", "")
    try:
        schema, newest = glance_at_home(home, url)
    except StoreUnavailable as error:
        return StoreSeen(where, "", "", error.why)
    except StoreError as error:
        return StoreSeen(where, "", "", str(error))
    return StoreSeen(where, schema, newest)


def names(config: Mapping[str, str], deadline_s: float) -> list[Name]:
    """Looks names up, all at once. `config` tells by name in which setting it stands."""
    answers = done_by(deadline_s, {name: partial(_look_up, name) for name in config})
    return [
        Name(name, setting, resolves=answers.get(name) == "", why=answers.get(name, ""))
        for name, setting in config.items()
    ]


def ports(addresses: Sequence[str]) -> list[Port]:
    """Tries to listen at multiaddrs, one after the other, and stops at once."""
    return [_try(address) for address in addresses]


def _look_up(name: str) -> str:
    """What is wrong with a name; empty when it leads somewhere."""
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "it can be no name of a host"
    return ""


def _try(address: str) -> Port:
    place = _place(address)
    if place is None:
        return Port(address, "other", "no IP address and port to listen on")
    family, host, transport, number = place
    try:
        _bind(family, host, transport, number)
    except OSError as error:
        trouble = _TROUBLES.get(error.errno or 0, "other")
        holder = holder_of_port(transport, number) if trouble == "taken" else ""
        return Port(address, trouble, error.strerror or str(error), holder)
    return Port(address)


def _bind(family: socket.AddressFamily, host: str, transport: str, number: int) -> None:
    with socket.socket(family, _KINDS[transport]) as one:
        if transport == "tcp":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # who has just stopped is in nobody's way
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, number))
        if transport == "tcp":
            one.listen(1)


def _place(address: str) -> tuple[socket.AddressFamily, str, str, int] | None:
    """What a multiaddr to listen on binds; nothing where it names no IP address and port."""
    parts = address.split("/")
    if len(parts) > 4 and parts[1] in _FAMILIES and parts[3] in _KINDS and parts[4].isdecimal():
        return _FAMILIES[parts[1]], parts[2], parts[3], int(parts[4])
    return None


def _entry(path: Path) -> Entry | None:
    try:
        told = path.stat()
    except FileNotFoundError:
        return None
    return Entry(
        str(path),
        stat.S_IMODE(told.st_mode),
        is_own=told.st_uid == os.geteuid(),
        is_folder=stat.S_ISDIR(told.st_mode),
        is_writable=os.access(path, os.W_OK),
    )
