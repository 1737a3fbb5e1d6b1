"""What a home promises to be on disk is on disk: written, made durable, renamed, and the rename made durable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from covm.federation import Identity
from covm.federation.home import Home
from covm.federation.peers.bans import Ban

SELF, OTHER = (Identity.from_seed(bytes([index]) * 32).peer_id for index in (1, 2))
STATE = "node-state.json"

SAVINGS: dict[str, Callable[[Home], None]] = {
    "incarnation": lambda home: home.save_incarnation(7),
    "bans": lambda home: home.save_bans([Ban(OTHER, "spam", 1, None)]),
}


class Disk:
    """What was asked of the disk, in its order; each file as it stood at that moment."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, str, bytes]] = []
        self._folder = folder
        fsync, replace = os.fsync, os.replace

        def recorded_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self.steps.append(("fsync", *self._found(os.fstat(descriptor))))

        def recorded_replace(source: Any, target: Any, **more: Any) -> None:
            found = self._found(os.stat(source))
            replace(source, target, **more)
            self.steps.append((f"rename to {Path(target).name}", *found))

        patch.setattr(os, "fsync", recorded_fsync)
        patch.setattr(os, "replace", recorded_replace)

    def _found(self, status: os.stat_result) -> tuple[str, bytes]:
        if os.path.samestat(status, self._folder.stat()):
            return "the folder", b""
        path = next(path for path in self._folder.iterdir() if os.path.samestat(status, path.stat()))
        return path.name, path.read_bytes()


@contextmanager
def opened(folder: Path) -> Iterator[Home]:
    home = Home(folder, SELF)
    home.open()
    try:
        yield home
    finally:
        home.close()


@pytest.mark.parametrize("what", SAVINGS)
def test_what_was_saved_survives_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    with opened(tmp_path) as home:
        home.save_incarnation(1)
        before = (tmp_path / STATE).read_bytes()
        disk = Disk(tmp_path, monkeypatch)
        SAVINGS[what](home)
    after = (tmp_path / STATE).read_bytes()
    assert after != before
    (_, beside, _), *_ = disk.steps
    assert beside != STATE
    assert disk.steps == [
        ("fsync", beside, after),
        (f"rename to {STATE}", beside, after),
        ("fsync", "the folder", b""),
    ]
