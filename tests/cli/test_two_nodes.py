"""What two cooperatives do with the command line, from `init` to `stop`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.cli.conftest import NodeStarter
from tests.cli.processes import Follower, Node, covm

PROPOSAL = {
    "id": "roof-2030",
    "title": "A solar roof",
    "description": "For the mill.",
    "author": "Mill Bakery",
    "options": ["yes", "later"],
    "created_at": 1_900_000_000_000,
    "metadata": {"budget_cents": 4_500_000},
}


def test_a_node_is_made_started_asked_and_stopped(home: Path, start: NodeStarter) -> None:
    made = covm("init", "--home", home, "--name", "Mill Bakery", "--network", "valley", "--json").json
    assert made["created"] is True
    assert (home / "identity.key").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700

    node = start("home")
    assert node.ready["peer_id"] == made["peer_id"]
    assert node.ready["name"] == "Mill Bakery"
    assert all(address.endswith(f"/p2p/{node.peer_id}") for address in node.ready["addresses"])

    status = node.ask("status")
    assert status["peer_id"] == node.peer_id
    assert status["addresses"] == node.ready["addresses"]
    assert (status["membership"], status["network"]) == ("open", "valley")
    assert status["warning"]
    assert node.peer_id in node.run("status").out

    assert node.ask("stop")["pid"] == node.process.pid
    assert node.process.wait(30) == 0
    assert node.run("status").code == 3
    assert not (home / "control.sock").exists()


def test_a_proposal_published_here_is_read_there(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    follower = Follower(farm, "messages", "--type", "governance.proposal")
    published = bakery.ask("publish", "Governance.Proposal", json.dumps(PROPOSAL))
    assert (published["type"], published["peers"]) == ("governance.proposal", 1)

    received = follower.next()["message"]
    assert received["id"] == published["id"]
    assert received["author"] == bakery.peer_id
    assert received["author_name"] == "Mill Bakery"
    assert received["payload"] == PROPOSAL
    assert "A solar roof" in farm.run("messages").out

    [logged] = farm.ask("gossip-log", "--type", "governance.proposal")["entries"]
    assert (logged["direction"], logged["id"], logged["author"]) == ("in", published["id"], bakery.peer_id)
    assert logged["verdict"] == "accept"
    [logged] = bakery.ask("gossip-log")["entries"]
    assert (logged["direction"], logged["id"]) == ("out", published["id"])

    assert farm.ask("stop")
    assert follower.end() == 0


def test_a_direct_message_is_acknowledged(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    sent = bakery.ask("send-msg", farm.peer_id, "private.message", "see you on Thursday", "--wait", "handled")
    assert (sent["state"], sent["peer"]) == ("handled", farm.peer_id)
    [message] = [each for each in farm.ask("messages")["messages"] if each["id"] == sent["id"]]
    assert message["payload"] == "see you on Thursday"
    assert message["to"] == farm.peer_id
    assert message["via"] == "direct"


def test_a_type_named_at_the_start_is_read(bakery: Node, shop: Node) -> None:
    bakery.ask("connect", shop.address)
    assert bakery.ask("send-msg", shop.peer_id, "shop.note", "hm", "--wait", "handled")["state"] == "handled"
    assert "shop.note" in shop.ask("types")["received"]
    bakery.ask("stop")


def test_peers_are_listed_with_their_names(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    [peer] = [each for each in bakery.ask("peers")["peers"] if each["connected"]]
    assert (peer["peer_id"], peer["name"], peer["state"]) == (farm.peer_id, "Riverside Farm", "connected")
    assert "Riverside Farm" in bakery.run("peers").out


def test_a_peer_goes_by_its_name_or_the_beginning_of_its_id(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    for spelling in ("Riverside Farm", "riverside farm", farm.peer_id[:16], farm.peer_id.removeprefix("12D3KooW")[:8]):
        assert bakery.ask("send-msg", spelling, "private.message", "hello")["peer"] == farm.peer_id


def test_two_peers_of_one_name_are_told_apart(start: NodeStarter) -> None:
    bakery, one, other = start("a"), start("b", "--name", "Farm"), start("c", "--name", "Farm")
    for farm in (one, other):
        bakery.ask("connect", farm.address)
    outcome = bakery.run("send-msg", "Farm", "private.message", "hello", "--json")
    assert outcome.code == 2
    assert outcome.error["code"] == "ambiguous_peer"
    assert set(outcome.error["details"]["matches"]) == {one.peer_id, other.peer_id}


def test_a_banned_peer_is_refused_until_it_is_unbanned(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    assert bakery.ask("ban", "Riverside Farm", "--for", "5m", "--reason", "noisy")["peer"] == farm.peer_id
    [ban] = bakery.ask("bans")["bans"]
    assert (ban["peer_id"], ban["reason"], ban["until"] - ban["since"]) == (farm.peer_id, "noisy", 300_000)
    assert bakery.run("connect", farm.address).code == 5
    assert bakery.run("send-msg", farm.peer_id, "private.message", "hello").code == 5
    bakery.ask("unban", farm.peer_id[:20])
    assert bakery.ask("bans")["bans"] == []
    assert bakery.ask("connect", farm.address)["peer"] == farm.peer_id


def test_unbanning_who_is_not_banned_says_so(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    for spelling in ("Riverside Farm", farm.peer_id):
        outcome = bakery.run("unban", spelling, "--json")
        assert (outcome.code, outcome.error["code"]) == (4, "not_banned")
        assert f"Riverside Farm ({farm.peer_id}) is not banned" in outcome.error["message"]
    assert "no peer here is called 'Mill'" in bakery.run("unban", "Mill").err


def test_who_is_away_has_no_round_trip_and_is_written_to_all_the_same(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair

    def peer() -> dict[str, Any]:
        [known] = bakery.ask("peers")["peers"]
        return dict(known)

    while peer()["round_trip_ms"] is None:
        assert bakery.process.poll() is None
    farm.ask("stop")
    while peer()["connected"]:
        assert bakery.process.poll() is None
    assert peer()["round_trip_ms"] is None
    told = bakery.run("send-msg", farm.peer_id, "private.message", "hello", "--wait", "queued")
    assert (told.code, told.err) == (0, "")
    bakery.ask("ban", farm.peer_id)
    assert (peer()["state"], peer()["round_trip_ms"]) == ("banned", None)
    assert bakery.run("send-msg", farm.peer_id, "private.message", "hello", "--wait", "queued").code == 5


def test_a_ban_outlives_a_restart(bakery: Node, farm: Node, start: NodeStarter) -> None:
    bakery.ask("ban", farm.peer_id, "--reason", "noisy")
    bakery.ask("stop")
    again = start("a")
    assert [ban["peer_id"] for ban in again.ask("bans")["bans"]] == [farm.peer_id]


def test_a_disconnected_peer_loses_its_connection_and_may_come_back(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    assert bakery.ask("disconnect", farm.peer_id)["peer"] == farm.peer_id
    bakery.ask("connect", farm.address)
    bakery.ask("stop")
    [lost] = [line for line in bakery.log.splitlines() if "PeerDisconnected" in line]
    assert farm.peer_id in lost
    assert bakery.log.count("PeerConnected") == 2


def test_stats_count_what_passed(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    for _ in range(2):
        bakery.ask("send-msg", farm.peer_id, "garden.note", "hello")
    counted = bakery.ask("stats")["stats"]["messages"]["direct"]["out"]["by_type"]["garden.note"]
    assert counted["messages"] == 2
    [line] = [line for line in bakery.run("stats").out.splitlines() if "garden.note" in line]
    assert line.split() == ["garden.note", "0", "2", f"({counted['bytes']}", "B)"]


def test_types_show_what_a_proposal_needs(shop: Node) -> None:
    [proposal] = [each for each in shop.ask("types")["types"] if each["name"] == "governance.proposal"]
    assert "title" in json.dumps(proposal["schema"])
    [line] = [line for line in shop.run("types").out.splitlines() if line.startswith("governance.proposal")]
    for field in ("id", "title", "author", "created_at"):
        assert field in line
    assert (proposal["durable"], line.split()[4]) == (False, "no"), line


def test_a_follower_of_the_gossip_log_sees_what_comes_and_ends_with_the_node(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    follower = Follower(farm, "gossip-log")
    published = bakery.ask("publish", "shop.news", '{"bread": "rye"}')
    assert follower.next()["entry"]["id"] == published["id"]
    assert farm.signal(signal.SIGTERM) == 0
    assert follower.end() == 0


def test_publishing_alone_is_no_error_and_says_so(shop: Node) -> None:
    while shop.ask("status")["connected_peers"]:
        assert shop.process.poll() is None
    assert shop.ask("publish", "shop.news", "rye bread")["peers"] == 0
    assert "no peer is connected" in shop.run("publish", "shop.news", "rye bread").out
