"""A node whose disk is full acknowledges nothing, stays up, says so, and goes on by itself when there is room."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.crashes.conftest import PairMaker
from tests.crashes.ledger import Sent
from tests.crashes.nodes import Node, Pair
from tests.crashes.test_crashes import keeps_its_promises

MIB = 1024 * 1024
ROOM_MIB = 12
"""What the node has at first, and what it is given when that is full."""

FILLING_BYTES = 16 * 1024
"""A transactional effect keeps it, so that some hundreds of messages fill the disk."""


class Room(Protocol):
    """Where a home lies, and how much there is."""

    home: Path

    def narrow(self, node: Node) -> None:
        """Leaves `ROOM_MIB`."""

    def widen(self, node: Node) -> None:
        """Makes room again."""


class SmallDisk:
    """A file system of its own, with a ballast in it."""

    def __init__(self, disk: Path) -> None:
        self.home = disk / "home"
        self._ballast = disk / "ballast"
        self._ballast.write_bytes(bytes(ROOM_MIB * MIB))

    def narrow(self, node: Node) -> None:
        """It is narrow from the beginning."""

    def widen(self, node: Node) -> None:
        self._ballast.unlink()


class SizeLimit:
    """No file of the process may grow beyond a size, which is as much as a user without rights can do."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def narrow(self, node: Node) -> None:
        self._limit(node, ROOM_MIB * MIB)

    def widen(self, node: Node) -> None:
        self._limit(node, resource.RLIM_INFINITY)

    def _limit(self, node: Node, size_bytes: int) -> None:
        assert node.process is not None
        assert node.process.pid is not None
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


@pytest.fixture(params=["file system", "size limit"])
def room(request: pytest.FixtureRequest, place: Path) -> Iterator[Room]:
    if request.param == "size limit":
        if sys.platform != "linux":
            pytest.skip("only Linux limits another process")
        yield SizeLimit(place / "home")
        return
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("needs root and mount for a file system of its own")
    disk = place / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={2 * ROOM_MIB}m,mode=0700", "covm-test", str(disk)]
    mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield SmallDisk(disk)
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_holds_up_the_mail_and_costs_none(room: Room, make_pair: PairMaker) -> None:
    pair = make_pair(mill={"home": str(room.home)}, farm={"filling_bytes": FILLING_BYTES})
    pair.start(load=False)
    room.narrow(pair.mill)
    for node in pair.both:
        node.ask("load")
    _stands_still_and_says_so(pair)
    # What waits is enough for the room that there will be.
    pair.farm.ask("pause")
    room.widen(pair.mill)
    _goes_on(pair)


def _stands_still_and_says_so(pair: Pair) -> None:
    """All that the sender may have under way is queued, none of it comes to be stored, and the node says why."""
    pair.wait(lambda: pair.mill.events("StoreTroubled"), "the full disk")
    # What is small may still fit where what is large does not: it stands still when nothing fits.
    pair.wait(lambda: _stands_still(pair), "a full window of messages that wait")


def _stands_still(pair: Pair) -> bool:
    before = Sent.read(pair.farm.folder)
    asked = pair.mill.ask("status")["status"]
    assert asked["running"]
    after = Sent.read(pair.farm.folder)
    is_full = len(after.queued) - len(after.stored) == pair.farm.settings.window
    return is_full and after.stored == before.stored and asked["store"]["state"] != "ok" and bool(asked["store"]["why"])


def _goes_on(pair: Pair) -> None:
    pair.wait(lambda: pair.mill.events("StoreRecovered"), "the recovery")
    pair.wait_progress(*pair.both)
    assert _store(pair.mill)["state"] == "ok"
    keeps_its_promises(pair)


def _store(node: Node) -> dict[str, str]:
    store: dict[str, str] = node.ask("status")["status"]["store"]
    return store
