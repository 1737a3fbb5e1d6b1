"""The server: built once a machine from the Go module proxy, started with a store of its own, ended with it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.places import cache_dir

MODULE = "github.com/nats-io/nats-server/v2"

VERSION = "v2.15.2"
"""Pinned, so that figures of two days compare."""

BUILD_S = 600.0
START_S = 20.0

_PORT = re.compile(rb"Listening for client connections on 127\.0\.0\.1:(\d+)")

_CONFIG = """
listen: 127.0.0.1:-1
jetstream {{
  store_dir: "{folder}"
  sync_interval: always
}}
"""


class NotToBeHad(Exception):
    """No server can be had here; the message says why."""


def build() -> Path:
    """The program, in the cache that clones share. Raises `NotToBeHad`."""
    folder = cache_dir() / "nats-server" / VERSION
    program = folder / "nats-server"
    if program.is_file():
        return program
    go = shutil.which("go")
    if go is None:
        raise NotToBeHad("its server is built with Go, which is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    argv = [go, "install", f"{MODULE}@{VERSION}"]
    try:
        subprocess.run(
            argv, cwd=folder, env={**os.environ, "GOBIN": str(folder)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=True, timeout=BUILD_S,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["it said nothing"]
        raise NotToBeHad(f"`go install` failed: {said[-1]}") from None
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"`go install` did not end within {BUILD_S:.0f} s") from None
    return program


@dataclass(frozen=True)
class Running:
    """A server that takes clients."""

    pid: int
    url: str


@contextlib.contextmanager
def running(program: Path) -> Iterator[Running]:
    """Starts it on a free port with an empty store on the benchmark's disk. It is waited for, so its time is known."""
    with tempfile.TemporaryDirectory(prefix="nats-", dir=os.environ.get("BENCHMARK_FOLDER")) as place:
        config = Path(place, "nats.conf")
        config.write_text(_CONFIG.format(folder=Path(place, "store")))
        log = Path(place, "log")
        with log.open("wb") as out:
            process = subprocess.Popen([program, "-c", config], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield Running(process.pid, f"nats://127.0.0.1:{_port(process, log)}")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        said = log.read_bytes()
        if (found := _PORT.search(said)) and b"Server is ready" in said:
            return int(found[1])
        time.sleep(0.02)
    raise SystemExit(f"the NATS server did not start: {log.read_text()[-500:]}")
