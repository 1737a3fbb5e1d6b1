"""What a node costs that is connected and has nothing to do.

idle PEERS SECONDS        starts both of these and puts their figures together
idle-node                 the node: says its address, is told for how long to look, says what it spent
idle-peers ADDRESS COUNT  its peers, each connected with it alone
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from benchmarks.service.figures import Figures, cpu_s
from benchmarks.service.lives import answer, finish, life, say, told, told_by
from benchmarks.service.node import new_service

SETTLED_S = 15
"""By then everybody has said who he is and whom he knows, and no join is under way."""

_TCP_INFO_BYTES = 160
_ACKED_AND_RECEIVED = 120
"""Where Linux has `tcpi_bytes_acked`, `tcpi_bytes_received`, `tcpi_segs_out` and `tcpi_segs_in`."""


async def idle(peers: int, window_s: int) -> Figures:
    with life("idle-node") as node:
        address = told_by(node)
        with life("idle-peers", address, str(peers)) as others:
            told_by(others)
            say(node, str(window_s))
            spent = told_by(node)
            finish(others)
        finish(node)
    return {
        "cpu_percent": 100 * spent["cpu_s"] / window_s,
        "bytes_per_s": spent["bytes"] / peers / window_s,
        "packets_per_s": spent["segments"] / peers / window_s,
    }


async def idle_node() -> Figures:
    # Everything as it is by default, mDNS aside: nothing of a measurement leaves the machine.
    async with new_service(enable_kademlia=True, enable_peer_exchange=True) as service:
        answer(service.addresses[0])
        window_s = int(await told())
        await asyncio.sleep(SETTLED_S if window_s > SETTLED_S else 0)
        spent_s, before = cpu_s(), _travelled()
        began_s = time.monotonic()
        await asyncio.sleep(window_s)
        share = window_s / (time.monotonic() - began_s)
        after = _travelled()
        answer(
            {
                "cpu_s": (cpu_s() - spent_s) * share,
                "bytes": (after[0] - before[0]) * share,
                "segments": (after[1] - before[1]) * share,
            }
        )
        await told()
    return {}


async def idle_peers(address: str, count: int) -> Figures:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            peer = await stack.enter_async_context(new_service(max_connections=1, enable_peer_exchange=True))
            await peer.connect_peer(address)
        answer("connected")
        await told()
    return {}


def _travelled() -> tuple[int, int]:
    """Bytes and segments of this process's TCP connections so far, both ways, as the kernel counts them."""
    total_bytes = total_segments = 0
    for info in _tcp_infos():
        acked, received, out, came = struct.unpack_from("=QQII", info, _ACKED_AND_RECEIVED)
        total_bytes += acked + received
        total_segments += out + came
    return total_bytes, total_segments


def _tcp_infos() -> Iterator[bytes]:
    for name in os.listdir("/proc/self/fd"):
        try:
            is_socket = os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except FileNotFoundError:
            continue  # the one that the folder was read by
        if is_socket:
            with socket.socket(fileno=os.dup(int(name))) as copy:
                try:
                    yield copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
                except OSError:
                    continue  # no TCP
