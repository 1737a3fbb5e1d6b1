"""Messages under way at the command line: they wait, arrive, are given up, tried again, and said so."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.processes import COVM, START_S, Node, environment

HANDLER_THAT_FAILS = """
import sys
from pathlib import Path
from covm.cli.app import run
from covm.daemon import node
from covm.daemon.received import ReceivedMessages

class Oven(ReceivedMessages):
    def take(self, message, tx):
        if message.type == "shop.order" and not Path(sys.argv[1]).exists():
            raise RuntimeError("the oven is cold")
        super().take(message, tx)

node.ReceivedMessages = Oven
sys.exit(run(sys.argv[2:]))
"""
"""A node like any other, whose handler of `shop.order` fails until a file is there."""

QUICK_TRIES = "[connection_retry]\nbase_delay = '10ms'\n"


@pytest.fixture
def apart(start: NodeStarter) -> tuple[Node, Node]:
    """Mill Bakery runs, and knows Riverside Farm, which has stopped."""
    bakery, farm = start("a", "--name", "Mill Bakery"), start("b", "--name", "Riverside Farm")
    bakery.ask("connect", farm.address)
    farm.ask("stop")
    farm.process.wait(START_S)
    return bakery, farm


def queue(node: Node, peer: str, text: str) -> str:
    """Queues a message and returns its id."""
    return str(node.ask("send-msg", peer, "private.message", text, "--wait", "queued")["id"])


def come_back(start: NodeStarter, *others: Node) -> Node:
    """Riverside Farm starts again and dials the others."""
    bootstrap = [word for other in others for word in ("--bootstrap", other.address)]
    return start("b", "--name", "Riverside Farm", *bootstrap)


# --- waiting and arriving


def test_a_message_to_a_node_that_is_away_arrives_when_it_is_back(apart: tuple[Node, Node], start: NodeStarter) -> None:
    bakery, farm = apart
    told = bakery.run("send-msg", "Riverside Farm", "private.message", "the rye is ready", "--wait", "queued")
    assert told.code == 0
    assert told.out.startswith("queued ")
    assert "; Riverside Farm has been offline since " in told.out
    assert "; will keep trying until " in told.out
    queue(bakery, farm.peer_id, "and the spelt")

    back = come_back(start, bakery)
    last = bakery.ask("send-msg", "Riverside Farm", "private.message", "and the oats", "--wait", "handled")
    assert (last["state"], last["peer_name"]) == ("handled", "Riverside Farm")
    read = [each["payload"] for each in back.ask("messages")["messages"]]
    assert read == ["the rye is ready", "and the spelt", "and the oats"]
    states = [each["state"] for each in bakery.ask("outbox")["messages"]]
    assert states == ["handled"] * 3


def test_what_is_queued_outlives_the_sender_and_what_was_read_outlives_the_reader(
    apart: tuple[Node, Node], start: NodeStarter
) -> None:
    bakery, farm = apart
    message_id = queue(bakery, farm.peer_id, "the rye is ready")
    bakery.signal(signal.SIGKILL)
    bakery = start("a", "--name", "Mill Bakery")
    [waiting] = bakery.ask("outbox", "--state", "queued")["messages"]
    assert (waiting["id"], waiting["peer"]) == (message_id, farm.peer_id)
    # Who is away goes by its name also where it has not been since the start.
    assert waiting["peer_name"] == "Riverside Farm"
    [away] = bakery.ask("peers")["peers"]
    assert (away["name"], away["queued"], away["connected"]) == ("Riverside Farm", 1, False)
    assert "Riverside Farm" in bakery.run("outbox", "--peer", "Riverside Farm").out

    farm = come_back(start, bakery)
    bakery.ask("send-msg", farm.peer_id, "private.message", "and the spelt", "--wait", "handled")
    farm.signal(signal.SIGKILL)
    farm = come_back(start, bakery)
    kept = farm.ask("messages")["messages"]
    assert [each["payload"] for each in kept] == ["the rye is ready", "and the spelt"]
    assert {each["author_name"] for each in kept} == {"Mill Bakery"}


@pytest.mark.parametrize("ends", ["in order", "killed"])
def test_since_when_a_peer_is_away_outlives_the_sender(apart: tuple[Node, Node], start: NodeStarter, ends: str) -> None:
    bakery, farm = apart
    queue(bakery, farm.peer_id, "the rye is ready")
    [before] = bakery.ask("peers")["peers"]
    if ends == "killed":
        bakery.signal(signal.SIGKILL)
    else:
        bakery.ask("stop")
        bakery.process.wait(START_S)
    bakery = start("a", "--name", "Mill Bakery")
    told = bakery.run("send-msg", "Riverside Farm", "private.message", "and the spelt", "--wait", "queued")
    assert "; Riverside Farm has been offline since " in told.out
    [after] = bakery.ask("peers")["peers"]
    assert after["offline_since"] == before["offline_since"]


@pytest.mark.parametrize("ends", ["in order", "killed"])
def test_who_was_here_when_the_sender_ended_is_away_since_the_sender_knows(
    pair: tuple[Node, Node], start: NodeStarter, ends: str
) -> None:
    """Until this node stopped; after a crash nobody knows more than that it was not here since the start."""
    bakery, farm = pair
    bakery.ask("send-msg", farm.peer_id, "private.message", "hello", "--wait", "stored")
    if ends == "killed":
        bakery.signal(signal.SIGKILL)
    else:
        bakery.ask("stop")
        bakery.process.wait(START_S)
    farm.ask("stop")
    bakery = start(bakery.home.name, "--name", "Mill Bakery")
    began = bakery.ask("status")["started_at"]
    sent = bakery.ask("send-msg", "Riverside Farm", "private.message", "hello again", "--wait", "queued")
    assert (sent["offline_since"] < began) == (ends == "in order")


def test_who_waits_in_vain_is_told_that_it_is_still_under_way_and_where_to_look(apart: tuple[Node, Node]) -> None:
    bakery, _ = apart
    waited = bakery.run("send-msg", "Riverside Farm", "private.message", "hello", "--timeout", "300ms")
    assert waited.code == 6
    queued, sentence = waited.err.splitlines()
    assert queued.startswith("queued ")
    assert "is not stored yet" in sentence
    assert "Riverside Farm has been offline since" in sentence
    assert "still under way" in sentence
    command = sentence.split("`")[1].split()
    assert command[:-1] == ["covm", "federation", "outbox", "show"]
    shown = bakery.run("outbox", "show", command[-1])
    assert shown.code == 0
    assert "state        queued" in shown.out
    assert "tried until  " in shown.out
    assert "Riverside Farm, which has been offline since" in shown.out


def test_who_waits_for_a_handler_in_vain_is_told_that_it_is_stored_there(neighbours: tuple[Node, Node]) -> None:
    """What it was tried for is over: no time to live ends it any more, and only what happens there counts."""
    bakery, farm = neighbours
    words = ("send-msg", farm.peer_id, "kitchen.gossip", "hm", "--wait", "handled", "--timeout", "1s")
    waited = bakery.run(*words)
    assert waited.code == 6
    [sentence] = waited.err.splitlines()
    assert "is not handled yet, after 1.0 s: it is stored by Riverside Farm, and nobody there has dealt" in sentence
    assert "until" not in sentence
    assert "need not be sent again" in sentence
    ours, theirs = (command.split()[2:] for command in sentence.split("`")[1::2])
    shown = bakery.run(*ours).out
    assert "state        stored" in shown
    assert "tried until" not in shown
    assert "unhandled" in farm.run(*theirs).out


def test_ctrl_c_ends_the_waiting_and_not_the_sending(apart: tuple[Node, Node]) -> None:
    bakery, _ = apart
    command = [*COVM, "federation", "send-msg", "--home", str(bakery.home), "Riverside Farm", "private.message", "hi"]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert waiting.stderr is not None
    short_id = waiting.stderr.readline().split()[1].rstrip(";")
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=START_S)
    assert waiting.returncode == 130
    assert f"{short_id} stays under way" in said
    assert bakery.ask("outbox", "show", short_id)["message"]["state"] == "queued"


def test_peers_shows_what_is_queued_for_each(apart: tuple[Node, Node]) -> None:
    bakery, farm = apart
    queue(bakery, farm.peer_id, "one")
    queue(bakery, farm.peer_id, "two")
    [peer] = bakery.ask("peers")["peers"]
    assert (peer["peer_id"], peer["queued"], peer["connected"]) == (farm.peer_id, 2, False)
    assert peer["queued_bytes"] > 0
    assert peer["oldest_queued"] > 0
    assert peer["offline_since"] > 0
    [_, line] = bakery.run("peers").out.splitlines()
    assert "  2 (" in line
    assert "oldest " in line


def test_whoever_was_never_heard_of_is_told_at_once(bakery: Node) -> None:
    stranger = "12D3KooWAnbduJvaiCWzYZGkh6x5NHkfxaJyHKtcUKbYGoTfNhXL"
    refused = bakery.run("send-msg", stranger, "private.message", "hello", "--wait", "queued", "--json")
    assert (refused.code, refused.error["code"]) == (4, "unknown_peer")
    assert bakery.ask("outbox")["messages"] == []


# --- giving up and trying again


def test_a_queued_message_is_cancelled_and_tried_again(apart: tuple[Node, Node], start: NodeStarter) -> None:
    bakery, farm = apart
    message_id = queue(bakery, farm.peer_id, "never mind")
    cancelled = bakery.run("outbox", "cancel", message_id[:12])
    assert cancelled.code == 0
    assert "is cancelled" in cancelled.out
    queue(bakery, farm.peer_id, "but this")
    farm = come_back(start, bakery)
    bakery.ask("send-msg", farm.peer_id, "private.message", "and this", "--wait", "handled")
    assert [each["payload"] for each in farm.ask("messages")["messages"]] == ["but this", "and this"]

    retried = bakery.run("outbox", "retry", message_id)
    assert retried.code == 0, retried
    assert "is queued again for Riverside Farm" in retried.out
    bakery.ask("send-msg", farm.peer_id, "private.message", "and that", "--wait", "handled")
    assert {each["payload"] for each in farm.ask("messages")["messages"]} == {
        "never mind",
        "but this",
        "and this",
        "and that",
    }


def test_what_is_handled_cannot_be_given_up_nor_sent_again(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    sent = bakery.ask("send-msg", farm.peer_id, "private.message", "done", "--wait", "handled")
    for action in ("cancel", "retry"):
        outcome = bakery.run("outbox", action, sent["id"], "--json")
        assert outcome.code == 5, outcome
        assert "handled" in outcome.error["message"] or "stored" in outcome.error["message"]
        assert outcome.error["code"] == {"cancel": "not_queued", "retry": "not_retriable"}[action]


def test_a_time_to_live_is_the_time_it_is_tried(apart: tuple[Node, Node]) -> None:
    bakery, farm = apart
    sent = bakery.ask("send-msg", farm.peer_id, "private.message", "hi", "--wait", "queued", "--time-to-live", "1h")
    message = bakery.ask("outbox", "show", sent["id"])["message"]
    assert message["expires_at"] - message["queued_at"] == 3_600_000


# --- ids


def test_the_beginning_of_an_id_is_enough_while_it_means_one(apart: tuple[Node, Node]) -> None:
    bakery, farm = apart
    ids = [queue(bakery, farm.peer_id, str(number)) for number in range(17)]
    assert bakery.ask("outbox", "show", ids[0][:16])["message"]["id"] == ids[0]
    # Seventeen ids have sixteen first digits between them.
    digit = next(each[0] for each in ids if sum(other[0] == each[0] for other in ids) > 1)
    outcome = bakery.run("outbox", "show", digit, "--json")
    assert outcome.code == 2
    assert outcome.error["code"] == "ambiguous_message"
    matches = [each for each in ids if each[0] == digit]
    assert set(outcome.error["details"]["matches"]) <= set(matches)
    assert all(each in outcome.error["message"] for each in matches[:1])


@pytest.mark.parametrize("text", ["0" * 32, "xyz", "../status", ""])
@pytest.mark.parametrize("group", ["outbox", "inbox", "quarantine"])
def test_an_id_that_is_none_is_not_found(shop: Node, group: str, text: str) -> None:
    outcome = shop.run(group, "show", text, "--json")
    assert outcome.code in (2, 4), outcome
    assert shop.run(group).code == 0


def test_lists_that_are_empty_say_so(shop: Node) -> None:
    assert "the inbox is empty" in shop.run("inbox").out
    assert "nothing is quarantined" in shop.run("quarantine", "list").out
    assert "nothing expired is in the outbox" in shop.run("outbox", "--state", "expired").out
    assert "--limit 0 asks for nothing" in shop.run("inbox", "--limit", "0").out
    assert shop.run("outbox", "--state", "lost").code == 2


# --- what arrived


def test_a_type_that_nobody_reads_yet_waits_in_the_inbox(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    sent = bakery.ask("send-msg", farm.peer_id, "kitchen.gossip", "hm", "--wait", "stored")
    waited = bakery.run(
        "send-msg", farm.peer_id, "kitchen.gossip", "hm", "--wait", "handled", "--timeout", "200ms", "--json"
    )
    assert (waited.code, waited.error["code"]) == (6, "delivery_timeout")
    arrived = {each["id"]: each for each in farm.ask("inbox")["messages"]}
    assert arrived[sent["id"]]["state"] == "unhandled"
    assert arrived[sent["id"]]["author_name"] == "Mill Bakery"
    assert "unhandled" in farm.run("inbox", "show", sent["id"][:12]).out


def test_what_waits_for_a_reader_is_read_when_one_comes(apart: tuple[Node, Node], start: NodeStarter) -> None:
    bakery, farm = apart
    farm = come_back(start, bakery)
    sent = bakery.ask("send-msg", farm.peer_id, "kitchen.gossip", "hm", "--wait", "stored")
    farm.ask("stop")
    farm.process.wait(START_S)
    farm = start("b", "--receive", "kitchen.gossip", "--bootstrap", bakery.address)
    follower_reads = farm.ask("messages", "--type", "kitchen.gossip")["messages"]
    later = bakery.ask("send-msg", farm.peer_id, "kitchen.gossip", "ha", "--wait", "handled")
    follower_reads = farm.ask("messages", "--type", "kitchen.gossip")["messages"]
    assert [each["id"] for each in follower_reads] == [sent["id"], later["id"]]
    assert bakery.ask("outbox", "show", sent["id"])["message"]["state"] == "handled"


def test_a_message_on_which_a_handler_fails_is_kept_and_tried_again_when_it_is_mended(
    bakery: Node, folder: Path
) -> None:
    home, mended = folder / "b", folder / "mended"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(QUICK_TRIES)
    farm = FailingNode(home, mended)
    try:
        farm.wait_ready()
        bakery.ask("connect", farm.address)
        failed = bakery.run("send-msg", farm.peer_id, "shop.order", "two loaves", "--wait", "handled", "--json")
        assert (failed.code, failed.error["code"]) == (1, "message_quarantined")
        [kept] = farm.ask("quarantine")["messages"]
        assert (kept["type"], kept["state"], kept["attempts"]) == ("shop.order", "quarantined", 3)
        assert "RuntimeError" in farm.run("quarantine", "show", kept["id"][:8]).out
        assert bakery.ask("outbox", "show", kept["id"])["message"]["state"] == "quarantined"

        mended.touch()
        assert "handed to its handlers again" in farm.run("quarantine", "retry", kept["id"][:8]).out
        bakery.ask("send-msg", farm.peer_id, "shop.order", "three loaves", "--wait", "handled")
        orders = farm.ask("messages", "--type", "shop.order")["messages"]
        assert [each["payload"] for each in orders] == ["two loaves", "three loaves"]
        assert farm.ask("quarantine")["messages"] == []
    finally:
        farm.end()


def test_a_quarantined_message_is_thrown_away(bakery: Node, folder: Path) -> None:
    home = folder / "b"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(QUICK_TRIES)
    farm = FailingNode(home, folder / "mended")
    try:
        farm.wait_ready()
        bakery.ask("connect", farm.address)
        bakery.run("send-msg", farm.peer_id, "shop.order", "two loaves", "--wait", "handled")
        [kept] = farm.ask("quarantine")["messages"]
        assert "is thrown away" in farm.run("quarantine", "discard", kept["id"]).out
        assert farm.ask("quarantine")["messages"] == []
        assert farm.run("quarantine", "retry", kept["id"]).code == 4
    finally:
        farm.end()


# --- the node's own state


def test_status_shows_the_store_and_the_incarnation_lasts(bakery: Node, start: NodeStarter) -> None:
    status = bakery.ask("status")
    store = status["store"]
    assert (store["engine"], store["state"]) == ("sqlite", "ok")
    assert store["where"].startswith(str(bakery.home))
    assert store["size_bytes"] > 0
    assert status["notices"] == []
    shown = bakery.run("status").out
    assert f"sqlite at {store['where']}" in shown
    assert status["incarnation"] in shown
    bakery.signal(signal.SIGKILL)
    assert start("a").ask("status")["incarnation"] == status["incarnation"]


class FailingNode(Node):
    """A daemon whose handler of `shop.order` fails until the file is there."""

    def __init__(self, home: Path, mended: Path) -> None:
        self.home = home
        self.log_path = home.with_name(home.name + ".log")
        words = [
            "federation",
            "start",
            "--home",
            str(home),
            "--network",
            "covm",
            "--preset",
            "local",
            "--json",
            "--receive",
            "shop.order",
        ]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HANDLER_THAT_FAILS, str(mended), *words],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
            )
        self._as_json = True
