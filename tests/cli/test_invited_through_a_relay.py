"""Somebody is invited by a node that nobody can dial: by the invite alone, a member's relay carries it there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.cli.members import founded, joined, made, names, until
from tests.cli.processes import Node, covm

from covm.federation.membership.invites import decode_invite

BEHIND = 'reachability = "private"\nlisten_addresses = []\n'
"""A node that only dials: nobody reaches it but through a relay."""


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def run(ending: ExitStack, home: Path, **settings: Any) -> Node:
    node = Node(home, preset=None, **settings)
    ending.callback(node.end)
    return node.wait_ready()


def hidden(ending: ExitStack, folder: Path) -> tuple[Node, Node]:
    """A founder that nobody can dial, and a member that relays for it."""
    founded(folder)
    mill = run(ending, folder / "mill")
    joined(folder, mill, "square", "Market Square")
    mill.end()
    square = run(ending, folder / "square", COVM_ENABLE_RELAY="true")
    with (folder / "mill" / "config.toml").open("a") as settings:
        settings.write(BEHIND)
    mill = run(ending, folder / "mill", COVM_BOOTSTRAP_PEERS=square.address)
    return mill, square


def link_through(mill: Node, relay: Node) -> str:
    """An invite once the founder is reached through the relay."""
    link = ""

    def leads_through() -> bool:
        nonlocal link
        link = mill.ask("invite")["link"]
        return any(f"/p2p/{relay.peer_id}/p2p-circuit/" in each for each in decode_invite(link).addresses)

    until(leads_through)
    return link


def test_a_newcomer_joins_a_founder_that_nobody_can_dial_by_the_invite_alone(folder: Path, ending: ExitStack) -> None:
    mill, square = hidden(ending, folder)
    link = link_through(mill, square)
    assert all("/p2p-circuit/" in each for each in decode_invite(link).addresses), decode_invite(link).addresses
    outcome = covm("federation", "join", link, "--home", made(folder, "shop", "Corner Shop"))
    assert outcome.code == 0, outcome
    assert "Corner Shop is a member of Three Valleys as member" in outcome.out
    shop = run(ending, folder / "shop")
    until(lambda: "Corner Shop" in names(square))
    until(lambda: {"Mill Bakery", "Market Square"} <= {each["name"] for each in shop.ask("peers")["peers"]})


def test_who_has_no_invite_is_not_carried(folder: Path, ending: ExitStack) -> None:
    mill, square = hidden(ending, folder)
    through = decode_invite(link_through(mill, square)).addresses[0]
    founded(folder, "forge", "Forge")
    stranger = run(ending, folder / "forge")
    refused = stranger.run("connect", through)
    assert refused.code != 0
    assert square.peer_id in refused.err
