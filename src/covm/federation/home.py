"""A node's home as the service uses it: one node at a time, and what must outlive a restart.

    lock             held (flock) while a node runs on the home
    node-state.json  the highest incarnation number used, and the bans; replaced as a whole, fsynced

Whoever holds the lock writes. A state file that cannot be read is an error: beginning anew would use an incarnation
number twice and forget the bans.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from covm.federation.errors import HomeInUse, InvalidAddress, StateDamaged, StoreError
from covm.federation.peers.bans import MAX_BANS, Ban
from covm.federation.peers.target import parse_peer_id
from covm.federation.wire.display import shown

STATE_VERSION = 1
MAX_STATE_BYTES = 16 * 1024 * 1024
"""A file larger than all bans could make it is not ours."""


class NodeState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `node-state.json`."""

    version: int = STATE_VERSION
    incarnation: Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)] = -1
    """The highest number used; -1 before the first start."""
    bans: Annotated[list[Ban], msgspec.Meta(max_length=MAX_BANS)] = []


class Home:
    """The home of a running node; without a path, everything is in memory and nothing lasts.

    `peer_id` is the node's own: a state file that bans it is damaged.
    """

    def __init__(self, path: Path | None, peer_id: str = "") -> None:
        self._path = path
        self._peer_id = peer_id
        self._lock: int | None = None
        self._state = NodeState()

    @property
    def path(self) -> Path | None:
        return self._path

    @property
    def incarnation(self) -> int:
        return self._state.incarnation

    @property
    def bans(self) -> Sequence[Ban]:
        return self._state.bans

    def open(self) -> None:
        """Takes the lock and reads the state. Raises `HomeInUse`, `StateDamaged`, `StoreError`."""
        if self._path is None:
            return
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"the home {self._path} cannot be used: {error.strerror}; choose another") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise HomeInUse(str(self._path)) from None
        try:
            self._state = self._read(self._path / "node-state.json")
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Gives the lock back. The file stays: removing it would let two nodes hold two locks of one name."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def save_incarnation(self, number: int) -> None:
        """On return the number is on disk."""
        self._save(msgspec.structs.replace(self._state, incarnation=number))

    def save_bans(self, bans: Sequence[Ban]) -> None:
        """On return the bans are on disk."""
        self._save(msgspec.structs.replace(self._state, bans=list(bans)))

    def _read(self, path: Path) -> NodeState:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_STATE_BYTES + 1)
        except FileNotFoundError:
            return NodeState()
        except OSError as error:
            raise StateDamaged(str(path), error.strerror or str(error)) from error
        if len(data) > MAX_STATE_BYTES:
            raise StateDamaged(str(path), f"it has more than {MAX_STATE_BYTES:,} bytes")
        try:
            state = msgspec.json.decode(data, type=NodeState)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StateDamaged(str(path), str(error)) from None
        if state.version != STATE_VERSION:
            raise StateDamaged(str(path), f"it has version {state.version}, this covm reads {STATE_VERSION}")
        for number, ban in enumerate(state.bans, 1):
            if (wrong := self._objection(ban)) is not None:
                raise StateDamaged(str(path), f"ban {number} of {len(state.bans)} {wrong}")
        return state

    def _objection(self, ban: Ban) -> str | None:
        """What is wrong with a ban whose fields have the right types and bounds."""
        try:
            peer = parse_peer_id(ban.peer)
        except InvalidAddress:
            return f"is of {shown(ban.peer, limit=64)!r}, which is no peer id"
        if peer != ban.peer:
            return f"is of {shown(ban.peer, limit=64)!r}, which should be written {peer}"
        if peer == self._peer_id:
            return "is of this node itself"
        return None

    def _save(self, state: NodeState) -> None:
        if self._path is not None:
            try:
                _replace(self._path / "node-state.json", msgspec.json.format(msgspec.json.encode(state), indent=2))
            except OSError as error:
                raise StoreError(f"the node's state could not be saved in {self._path}: {error.strerror}") from error
        self._state = state


def _replace(path: Path, data: bytes) -> None:
    """Writes beside the file and renames: after a crash it is the old or the new one, never half."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
