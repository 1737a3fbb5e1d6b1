"""A PostgreSQL of the test run's own: Debian's package, on a socket in a temporary folder and a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import IN_CI

START_TIMEOUT_S = 60


def programs() -> Path | None:
    """The folder of the newest server installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class Server:
    """A running server. `url` leads to its database; each test takes a schema of its own."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self._binaries = folder, binaries
        self._data = folder / "data"
        self._user = _server_user()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://covm@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Makes the cluster: trust on loopback only, in a folder that goes away with the run."""
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", self._data, "-U", "covm", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        (self._data / "standby.signal").unlink(missing_ok=True)
        self._start()

    def start_without_end(self) -> None:
        """Starts up and never gets through: whoever connects is told so (57P03), as while it recovers from a crash."""
        (self._data / "standby.signal").touch()
        self._start("-c hot_standby=off")

    def _start(self, further: str = "") -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c shared_buffers=16MB {further}"
        words = ("-w", "-t", START_TIMEOUT_S, "-l", self.folder / "log", "-o", options, "start")
        self._run("pg_ctl", "-D", self._data, *words)

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash: nothing is written back, connections end without a word."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def _run(self, program: str, *words: object) -> None:
        command = [str(self._binaries / program), *map(str, words)]
        user: dict[str, Any] = {}
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
        output = self.folder / "output"
        with output.open("ab") as file:
            done = subprocess.run(command, stdout=file, stderr=file, cwd=self.folder, check=False, **user)
        assert done.returncode == 0, f"{program}: {output.read_text()[-2000:]}"


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root: then as the package's user, or as nobody."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


@contextmanager
def running_server() -> Iterator[Server]:
    binaries = programs()
    if binaries is None:
        reason = "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"
        if IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)
    # Not under pytest's own folder, which is closed to the server's user.
    with tempfile.TemporaryDirectory(prefix="covm-pg-") as name:
        server = Server(Path(name), binaries)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
