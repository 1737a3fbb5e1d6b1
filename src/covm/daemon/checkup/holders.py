"""Which process holds a port or a lock, where the system tells (Linux: /proc); of other users' it tells root alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

LISTENS = {"tcp": "0A", "udp": "07"}
"""States of sockets to which others come, as /proc/net spells them."""

_PROC = Path("/proc")


def holder_of_port(transport: str, port: int) -> str:
    """Who has a port of `tcp` or `udp`, as `process 4711 (nginx)`; empty where it cannot be told."""
    inodes = {
        fields[9]
        for name in (transport, f"{transport}6")
        for fields in _lines(_PROC / "net" / name)[1:]
        if fields[3] == LISTENS[transport] and int(fields[1].rpartition(":")[2], 16) == port
    }
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in _processes() if links else []:
        try:
            if any(os.readlink(each) in links for each in (process / "fd").iterdir()):
                return f"process {process.name} ({_name_of(process)}) has it"
        except OSError:
            continue  # it has ended, or is another user's
    return ""


def holder_of_lock(path: Path) -> int | None:
    """The process that holds the lock (flock) on a file; None where nobody does, or it cannot be told."""
    try:
        file = path.stat()
    except OSError:
        return None
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for fields in _lines(_PROC / "locks"):
        if fields[1] == "FLOCK" and place in fields and fields[4].isdecimal():
            return int(fields[4])
    return None


def is_socket(path: Path) -> bool | None:
    """Whether a socket is there; None where nothing is."""
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return None


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []


def _processes() -> list[Path]:
    return [each for each in _PROC.iterdir() if each.name.isdecimal()]


def _name_of(process: Path) -> str:
    return (process / "comm").read_text().strip()
