"""Nodes on one segment find each other without being told anything. In namespaces: multicast never leaves the test."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from tests.namespaces import cable

ROOT = Path(__file__).parents[2]


async def _start(namespace: str, name: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", namespace, sys.executable, "-m", "tests.network.mdns_node", name,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.namespaces
async def test_two_nodes_on_one_segment_find_each_other() -> None:
    with cable() as (left, right):
        nodes = [await _start(left, "Mill Bakery"), await _start(right, "Riverside Farm")]
        try:
            async with asyncio.timeout(90):
                said = [await node.stdout.readline() for node in nodes if node.stdout]
            assert said == [b"met Riverside Farm\n", b"met Mill Bakery\n"]
        finally:
            for node in nodes:
                if node.returncode is None:
                    node.terminate()
                await node.communicate()
