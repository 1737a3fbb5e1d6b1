"""Who is at the other end of a Unix socket, as the kernel says."""

from __future__ import annotations

import os
import socket
import struct
import sys

ROOT = 0
"""May do everything on the machine anyway; refusing it would only hide that."""

_ON_LINUX = sys.platform == "linux"

_UCRED = struct.Struct("=iII")
"""Linux, unix(7): process id, user id, group id."""

_XUCRED = struct.Struct("=IIh2x16I")
"""macOS and BSD, sys/ucred.h: version, user id, number of groups, groups."""

_SO_PEERCRED = getattr(socket, "SO_PEERCRED", 0)
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process that connected. Raises `OSError` where the system cannot tell."""
    if _ON_LINUX:
        return int(_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size))[1])
    return int(_XUCRED.unpack(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))[1])


def is_own_user(uid: int) -> bool:
    """Whether this user may command the node: the node's own user and root."""
    return uid in (os.geteuid(), ROOT)
