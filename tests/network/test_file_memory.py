"""A large file takes no more memory than a small one, at either end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

SMALL_MIB, LARGE_MIB = 16, 200
A_FEW_MIB = 12 * 1024
"""KiB: the stream's buffers and the chunks under way of both directions, and what the allocator keeps beside."""


@contextmanager
def process(*arguments: str) -> Iterator[IO[str]]:
    argv = [sys.executable, "-m", "tests.network.file_node", *arguments]
    running = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        yield running.stdout
    finally:
        running.stdin.close()
        try:
            assert running.wait(30) == 0
        finally:
            running.kill()
            running.wait()
            running.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure a process's memory")
def test_a_file_of_200_mib_takes_a_few_mib_of_memory_at_either_end(tmp_path: Path) -> None:
    sizes = [str(SMALL_MIB), str(LARGE_MIB)]
    with process(str(tmp_path / "mill"), "sends", *sizes) as mill:
        address = mill.readline().strip()
        with process(str(tmp_path / "farm"), "receives", address, "2") as farm:
            received_kib, sent_kib = int(farm.readline()), int(mill.readline())
    assert received_kib < A_FEW_MIB
    assert sent_kib < A_FEW_MIB
    received = next((tmp_path / "farm" / "files").glob(f"*/{LARGE_MIB}"))
    assert received.stat().st_size == LARGE_MIB * 1024 * 1024
