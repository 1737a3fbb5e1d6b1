"""The disk alone: `fsync COUNT`, or `sqlite COUNT GROUP BYTES`; one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import pysqlite3

from benchmarks.service.figures import Figures, milliseconds_since, percentile

BLOCK = b"\7" * 4096


def fsync(folder: Path, count: int) -> Figures:
    """Appends 4 KiB and waits for the disk, `count` times."""
    times_ms: list[float] = []
    handle = os.open(folder / "blocks", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            began_ns = time.perf_counter_ns()
            os.write(handle, BLOCK)
            os.fsync(handle)
            times_ms.append(milliseconds_since(began_ns))
    finally:
        os.close(handle)
    return {"p50_ms": percentile(times_ms, 0.5), "p99_ms": percentile(times_ms, 0.99)}


def sqlite(folder: Path, count: int, group: int, size_bytes: int) -> Figures:
    """Rows with an id, a unique 16-byte key and a body, `group` in a transaction, as the store is set up."""
    body = b"\7" * size_bytes
    base = pysqlite3.connect(folder / "rows.db", isolation_level=None)
    try:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, mid BLOB NOT NULL UNIQUE, body BLOB NOT NULL)")
        began_s = time.perf_counter()
        for first in range(0, count, group):
            base.execute("BEGIN IMMEDIATE")
            base.executemany(
                "INSERT INTO rows (mid, body) VALUES (?, ?)",
                [(os.urandom(16), body) for _ in range(first, min(first + group, count))],
            )
            base.execute("COMMIT")
        elapsed_s = time.perf_counter() - began_s
    finally:
        base.close()
    return {"per_s": count / elapsed_s}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disk")
    parser.add_argument("command", choices=["fsync", "sqlite"])
    parser.add_argument("numbers", nargs="+", type=int)
    options = parser.parse_args()
    work = fsync if options.command == "fsync" else sqlite
    with tempfile.TemporaryDirectory(prefix="disk-", dir=os.environ.get("BENCHMARK_FOLDER")) as place:
        figures = work(Path(place), *options.numbers)
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
