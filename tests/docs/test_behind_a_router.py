"""What docs/behind-a-router.md has typed on three machines is typed there: namespaces, with nftables as the routers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from tests.cli.doctor import says
from tests.cli.members import until
from tests.cli.processes import covm
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.terminal import Terminal
from tests.namespaces import PUBLIC_IP, Internet, internet, translate

pytestmark = pytest.mark.namespaces

MILL, FARM = "Mill Bakery", "Hill Farm"
SQUARES, HOMES, BOTH, RECEIVED, AT_LAST = blocks(ROOT / "docs/behind-a-router.md", "shell-session")


class Valley:
    """The three machines; each operator has typed the page as far as their node runs."""

    def __init__(self, net: Internet, ending: ExitStack) -> None:
        self.net = net
        self.square = ending.enter_context(Terminal(net.public))
        self.mill, self.farm = (ending.enter_context(Terminal(home)) for home in net.homes)
        said = self.square.follow(SQUARES)
        link = next(line for line in said if line.startswith("covm-invite:"))
        joining = replace(HOMES, text=HOMES.text.replace("covm-invite:...", link))
        self.mill.follow(joining)
        self.farm.follow(at_the_farm(joining))


@pytest.fixture
def valley() -> Iterator[Valley]:
    with internet() as net, ExitStack() as ending:
        yield Valley(net, ending)


def at_the_farm(block: Block) -> Block:
    """What stands on the page for the mill, as the farm types it."""
    names = {MILL: FARM, FARM: MILL}
    return replace(block, text="".join(names.get(part, part) for part in re.split(f"({MILL}|{FARM})", block.text)))


def is_direct(here: Terminal, other: str) -> bool:
    """Whether a node is connected with the other and not by a relay."""
    peers = covm("federation", "peers", "--home", here.home, "--json").json["peers"]
    return any(each["name"] == other and each["connected"] and not each["relayed"] for each in peers)


def peer_id(terminal: Terminal) -> str:
    return str(covm("federation", "status", "--home", terminal.home, "--json").json["peer_id"])


def test_the_page_is_followed_by_hand_and_then_a_router_is_changed(valley: Valley) -> None:
    square, mill, farm = valley.square, valley.mill, valley.farm
    for here, other in ((mill, FARM), (farm, MILL)):
        until(lambda here=here, other=other: is_direct(here, other))  # type: ignore[misc]
        until(lambda here=here: says(here.home, "relay", "ok", "a place at Market Square"))  # type: ignore[misc]
        until(lambda here=here, other=other: says(here.home, "reachability", "ok", "and then directly", other))  # type: ignore[misc]
    mill.follow(BOTH)
    farm.follow(at_the_farm(BOTH))
    for here in (mill, farm):
        here.follow(RECEIVED)
    square.follow(AT_LAST)

    # The provider changes the mill's router: each destination gets another port from now on.
    translate(valley.net.routers[0], "masquerade random")
    way = f"/ip4/{PUBLIC_IP}/tcp/9000/p2p/{peer_id(square)}/p2p-circuit/p2p/{peer_id(mill)}"
    assert covm("federation", "disconnect", peer_id(mill), "--home", farm.home).code == 0
    until(lambda: covm("federation", "connect", way, "--home", farm.home).code == 0)
    changed = ("it stays relayed, through Market Square", "a router has been changed since", "symmetric NAT")
    until(lambda: says(mill.home, "reachability", "warning", *changed, "forward TCP port 9000"))
    until(lambda: says(farm.home, "reachability", "warning", *changed))
