"""Members behind routers of their own, with the commands that people type: namespaces, with nftables as the routers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.cli.members import done, until
from tests.cli.processes import Node, covm, process
from tests.namespaces import PUBLIC_IP, Internet, internet

from covm.federation.membership.invites import decode_invite

pytestmark = pytest.mark.namespaces


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def home(folder: Path, place: str, name: str, *settings: str) -> Path:
    """A home with these lines in its configuration."""
    made = covm("init", "--home", folder / place, "--name", name)
    assert made.code == 0, made
    with (folder / place / "config.toml").open("a") as file:
        file.writelines(f"{line}\n" for line in ("enable_mdns = false", *settings))
    return folder / place


def founded_by_two(folder: Path, one: Path, other: Path) -> None:
    """Both homes hold the charter that both have signed."""
    papers, charter = folder / "other.json", folder / "charter.json"
    done(other, "export", papers)
    create = ("create", "Three Valleys", "--founder", papers, "--charter", charter, "--home", one)
    assert covm("federation", *create).code == 0
    for place in (other, one):
        signed = covm("federation", "charter", "sign", charter, "--home", place)
        assert signed.code == 0, signed


class Story:
    """A public member, and a founder behind a router that is reached through it."""

    def __init__(self, net: Internet, folder: Path, ending: ExitStack) -> None:
        self.net, self.folder, self._ending = net, folder, ending
        self._at: dict[Path, str] = {}
        square = home(folder, "square", "Market Square", 'reachability = "public"')
        mill = home(folder, "mill", "Mill Bakery")
        founded_by_two(folder, square, mill)
        self.square = self.start(square, net.public)
        known = f"/ip4/{PUBLIC_IP}/tcp/9000/p2p/{self.square.peer_id}"
        with (mill / "config.toml").open("a") as file:
            file.write(f'bootstrap_peers = ["{known}"]\n')
        self.mill = self.start(mill, net.homes[0])

    def start(self, place: Path, namespace: str) -> Node:
        self._at[place] = namespace
        node = Node(place, "--receive", "mill.note", preset=None, namespace=namespace)
        self._ending.callback(node.end)
        return node.wait_ready()

    def link(self) -> str:
        """An invite by the founder that nobody can dial."""
        link = ""

        def leads_through() -> bool:
            nonlocal link
            link = self.mill.ask("invite")["link"]
            return any("/p2p-circuit/" in each for each in decode_invite(link).addresses)

        until(leads_through)
        return link

    def says(self, node: Node, *parts: str) -> None:
        """`covm doctor` on the node's machine says all this, once peers have tried to reach it."""

        def are_said() -> bool:
            told = process("doctor", "--home", node.home, namespace=self._at[node.home]).out
            return all(part in told for part in parts)

        until(are_said)

    def joined(self) -> Node:
        """A newcomer behind the other router, that the founder has invited."""
        place = home(self.folder, "farm", "Hill Farm")
        joined = process("federation", "join", self.link(), "--home", place, namespace=self.net.homes[1])
        assert joined.code == 0, joined
        assert "Hill Farm is a member of Three Valleys" in joined.out
        return self.start(place, self.net.homes[1])


def test_a_newcomer_behind_a_router_joins_a_founder_behind_another_and_they_speak_without_the_relay(
    folder: Path, ending: ExitStack
) -> None:
    with internet() as net:
        story = Story(net, folder, ending)
        farm, mill = story.joined(), story.mill
        for one, other, name in ((farm, mill, "Mill Bakery"), (mill, farm, "Hill Farm")):
            until(lambda one=one, other=other: way(one, other) == "direct")  # type: ignore[misc]
            assert [line for line in one.run("peers").out.splitlines() if name in line and "direct" in line]
            story.says(one, "others reach it through Market Square, and then directly")
        story.square.end()
        sent = farm.run("send-msg", mill.peer_id, "mill.note", '"flour is here"', "--wait", "handled")
        assert sent.code == 0, sent


def test_behind_routers_that_draw_ports_it_stays_relayed_and_the_doctor_says_why(
    folder: Path, ending: ExitStack
) -> None:
    with internet("masquerade random") as net:
        story = Story(net, folder, ending)
        farm, mill = story.joined(), story.mill
        for one, other in ((farm, mill), (mill, farm)):
            until(lambda one=one, other=other: "hole punching failed: " in peer(one, other)["relayed_why"])  # type: ignore[misc]
            assert way(one, other) == "relayed"
            story.says(one, "it stays relayed, through Market Square", "symmetric NAT")
        sent = farm.run("send-msg", mill.peer_id, "mill.note", '"flour is here"', "--wait", "handled")
        assert sent.code == 0, sent


def peer(node: Node, other: Node) -> dict[str, Any]:
    """What a node says of another."""
    return next((each for each in node.ask("peers")["peers"] if each["peer_id"] == other.peer_id), {})


def way(node: Node, other: Node) -> str:
    """How it is connected with another: `direct`, `relayed`, or not at all."""
    known = peer(node, other)
    return ("relayed" if known["relayed"] else "direct") if known.get("connected") else ""
