"""A node's home folder: where it is, what lies in it, and whether it may be used.

<home>/            0700
    identity.key   0600, the node's Ed25519 key
    config.toml    optional
    member/        0700, a member's keys, if they are kept here
    control.sock   0600, while a node runs
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

SOCKET_PATH_LIMIT = 107 if sys.platform == "linux" else 103
"""Bytes that fit into `sockaddr_un.sun_path` (108 on Linux, 104 on BSD and macOS), less the closing zero."""


class UnusableHome(Exception):
    """The folder cannot be a node's home; the sentence says why and what to do."""


def home_of(option: str | None) -> Path:
    """The home to use: the option, else `COVM_HOME`, else `~/.covm`; absolute, with `~` expanded."""
    chosen = option or os.environ.get("COVM_HOME") or "~/.covm"
    return Path(chosen).expanduser().absolute()


def key_path(home: Path) -> Path:
    """Where the node's key lies."""
    return home / "identity.key"


def config_path(home: Path) -> Path:
    """Where the home's configuration lies, if it has one."""
    return home / "config.toml"


def socket_path(home: Path) -> Path:
    """Where the control socket lies. Raises `UnusableHome` when the path does not fit into a socket address."""
    path = home / "control.sock"
    size_bytes = len(os.fsencode(path))
    if size_bytes > SOCKET_PATH_LIMIT:
        raise UnusableHome(
            f"the home's path is too long: {path} has {size_bytes} bytes, a socket's path may have "
            f"{SOCKET_PATH_LIMIT}; choose a shorter --home (or COVM_HOME)"
        )
    return path


def prepare_home(home: Path) -> None:
    """Makes the home, 0700, or checks the one that is there.

    An empty folder of ours is closed to others; one with something in it is never changed, because a folder given by
    mistake may have to stay open. Raises `UnusableHome`.
    """
    socket_path(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
    except OSError as error:
        raise UnusableHome(f"{home} cannot be made or read: {error.strerror}; choose another --home") from error
    if not stat.S_ISDIR(status.st_mode):
        raise UnusableHome(f"{home} is not a folder; choose another --home")
    if status.st_uid != os.geteuid():
        raise UnusableHome(f"{home} belongs to another user; run covm as that user, or choose another --home")
    if stat.S_IMODE(status.st_mode) & 0o077 == 0:
        return
    if any(home.iterdir()):
        raise UnusableHome(
            f"{home} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}), and a node keeps its key "
            f"there; close it with `chmod 700 {home}`, or choose another --home"
        )
    home.chmod(0o700)
