"""Addresses that never answer, and names that nobody resolves, in namespaces: they hold nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.namespaces import cable, name_server, silence
from tests.network.nat_nodes import Node

SILENT = ["/ip4/10.99.0.77/tcp/4001", "/ip4/10.99.0.77/udp/4001/quic-v1", "/dns4/mill.example/tcp/4001"]
"""A machine that drops what comes, and a name whose server does."""


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Node, Node]]:
    with cable() as (left, right), name_server(left, "10.99.0.53"):
        silence(right, "10.99.0.53", "10.99.0.77")
        nodes = [await Node.start(left, "tcp", "auto"), await Node.start(right, "tcp", "auto")]
        try:
            yield nodes[0], nodes[1]
        finally:
            for node in nodes:
                await node.stop()


@pytest.mark.namespaces
async def test_addresses_that_never_answer_hold_up_none_that_does() -> None:
    async with two() as (mill, farm):
        async with asyncio.timeout(4):  # before the first of them has failed
            assert await mill.does("dial", farm.peer, [*SILENT, "/ip4/10.99.0.2/tcp/4001"]) == farm.peer


@pytest.mark.namespaces
async def test_each_address_that_never_answers_fails_at_its_own_deadline() -> None:
    async with two() as (mill, farm):
        async with asyncio.timeout(10):  # five seconds, and a moment for each
            said = await mill.tries("dial", farm.peer, SILENT)
        assert list(said["attempts"]) == SILENT
        assert all(why.startswith("no answer within 5 s") for why in said["attempts"].values()), said
        assert [address for address, why in said["attempts"].items() if "name server" in why] == [
            address for address in SILENT if address.startswith("/dns")
        ]
