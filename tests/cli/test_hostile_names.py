"""A peer whose name is a weapon, in everything that this node's people look at."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.adversarial.attacker import Attacker
from tests.cli.processes import Node, Outcome, process

from covm.federation.wire.federation_id import open_federation

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202efarm\u2066\r\n../../etc<b>"
"""Clears the screen, sets the title, turns the text around, begins a line of its own."""


async def run(node: Node, *arguments: str) -> Outcome:
    """A command beside the peer's own life on this loop."""
    return await asyncio.to_thread(process, "federation", *arguments, "--home", node.home)


async def test_a_hostile_name_is_shown_escaped_wherever_it_appears(shop: Node) -> None:
    async with Attacker(HOSTILE, open_federation("covm")) as peer:
        await peer.join(cast("Any", shop))
        await peer.open(cast("Any", shop))
        await peer.publish([peer.sealed_note("weeds")])
        while peer.peer_id not in (await run(shop, "gossip-log")).out + (await run(shop, "gossip-log", "--json")).out:
            assert shop.process.poll() is None
        for command in (
            ["peers"],
            ["gossip-log"],
            ["messages"],
            ["stats"],
            ["unban", peer.peer_id],
            ["disconnect", HOSTILE],
        ):
            for form in ([], ["--json"]):
                ended = await run(shop, *command, *form)
                for line in (ended.out + ended.err).splitlines():
                    assert line.isprintable(), (command, form, line)
        [known] = (await run(shop, "peers", "--json")).json["peers"]
    assert known["name"] == HOSTILE
    assert "\\x1b[2J\\x1b]0;owned\\x07\\u202efarm" in shop.run("peers").out
    assert all(line.isprintable() for line in shop.log.splitlines())
