"""What `covm doctor` says on both sides of two routers, before and after one of them is changed: in namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.doctor import says
from tests.cli.members import until
from tests.cli.processes import Node, covm
from tests.namespaces import PUBLIC_IP, Internet, internet, translate

pytestmark = pytest.mark.namespaces

PORT = 9000


class Valley:
    """A public node, and two behind routers of their own that know it, as their operators start them."""

    def __init__(self, net: Internet, folder: Path) -> None:
        self.net = net
        self._folder = folder
        self.nodes: list[Node] = []
        self.square = self._start("square", "Market Square", net.public, 'reachability = "public"').wait_ready()
        known = f"/ip4/{PUBLIC_IP}/tcp/{PORT}/p2p/{self.square.peer_id}"
        settings = (f'bootstrap_peers = ["{known}"]', "enable_upnp = false")
        self.mill = self._start("mill", "Mill Bakery", net.homes[0], *settings)
        self.farm = self._start("farm", "Riverside Farm", net.homes[1], *settings)
        self.mill.wait_ready()
        self.farm.wait_ready()
        self.way_to_mill = f"{known}/p2p-circuit/p2p/{self.mill.peer_id}"

    def _start(self, place: str, name: str, namespace: str, *settings: str) -> Node:
        home = self._folder / place
        assert covm("init", "--home", home, "--name", name, "--network", "valley").code == 0
        with (home / "config.toml").open("a") as file:
            file.writelines(
                f"{line}\n"
                for line in (
                    "enable_mdns = false",
                    f'listen_addresses = ["/ip4/0.0.0.0/tcp/{PORT}"]',
                    *settings,
                )
            )
        self.nodes.append(Node(home, preset=None, namespace=namespace))
        return self.nodes[-1]


@pytest.fixture
def valley(folder: Path) -> Iterator[Valley]:
    with internet() as net:
        made = Valley(net, folder)
        yield made
        for node in made.nodes:
            node.end()


def test_each_side_is_told_why_it_works_and_then_what_has_changed(valley: Valley) -> None:
    square, mill, farm = valley.square, valley.mill, valley.farm
    assert says(square.home, "relay", "ok", "none is needed")
    for node in (mill, farm):
        until(lambda node=node: says(node.home, "relay", "ok", "a place at Market Square"))  # type: ignore[misc]
        until(lambda node=node: says(node.home, "reachability", "ok", "others reach it through Market Square"))  # type: ignore[misc]
    assert farm.run("connect", valley.way_to_mill).code == 0
    until(
        lambda: says(mill.home, "reachability", "ok", "and then directly", "through both routers with Riverside Farm")
    )
    until(lambda: says(farm.home, "reachability", "ok", "and then directly", "through both routers with Mill Bakery"))

    # The provider changes the mill's router: each destination gets another port from now on.
    translate(valley.net.routers[0], "masquerade random")
    assert farm.run("disconnect", mill.peer_id).code == 0
    until(lambda: farm.run("connect", valley.way_to_mill).code == 0)
    changed = ("it stays relayed, through Market Square", "a router has been changed since", "symmetric NAT")
    until(lambda: says(mill.home, "reachability", "warning", *changed, f"forward TCP port {PORT}"))
    until(lambda: says(farm.home, "reachability", "warning", *changed))
