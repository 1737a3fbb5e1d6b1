"""What a script may decide by: every exit code, and errors as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.processes import Node, covm, process

STRANGER = "12D3KooWAnbduJvaiCWzYZGkh6x5NHkfxaJyHKtcUKbYGoTfNhXL"


@pytest.mark.parametrize(
    "command",
    [
        ["federation", "status"],
        ["federation", "stop"],
        ["federation", "peers"],
        ["federation", "publish", "shop.news", "rye"],
        ["federation", "gossip-log", "--follow"],
    ],
)
def test_3_when_no_node_runs(home: Path, command: list[str]) -> None:
    outcome = covm(*command, "--home", home, "--json")
    assert outcome.code == 3
    assert outcome.error["code"] == "no_node"
    assert "covm federation start" in outcome.error["message"]
    assert covm(*command, "--home", home).err.startswith("covm: no node runs on")


@pytest.mark.parametrize(
    "command",
    [
        ["federation", "publish", "shop.news"],
        ["federation", "bogus"],
        ["federation", "status", "--bogus"],
        ["federation", "gossip-log", "--limit", "many"],
        ["federation", "ban", "x", "--for", "5"],
        ["federation", "send-msg", "x", "shop.news", "rye", "--wait", "forever"],
        ["federation", "send-msg", "x", "shop.news", "rye", "--timeout", "soon"],
        ["federation", "publish", "shop.news", '{"bread": rye}'],
        ["bogus"],
    ],
)
def test_2_when_the_command_is_wrong(home: Path, command: list[str]) -> None:
    outcome = covm(*command, "--home", home, "--json")
    assert outcome.code == 2
    assert outcome.error["kind"] == "invalid"
    plain = covm(*command, "--home", home)
    assert (plain.code, plain.out) == (2, "")
    assert plain.err.startswith("covm: ")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["connect", "not-an-address-but/a/path"], 4),
        (["connect", "/ip4/300.0.0.1/tcp/1"], 2),
        (["publish", "newspaper", "rye"], 2),
        (["publish", "governance.proposal", '{"title": 5}'], 2),
        (["publish", "shop.prices", '{"rye": 3.5}'], 2),
        (["publish", "shop.news", "x" * 1_100_000], 2),
        (["gossip-log", "--limit", "100000"], 2),
        (["disconnect", "nobody"], 4),
        (["unban", STRANGER], 4),
        (["send-msg", STRANGER, "private.message", "hello"], 4),
    ],
)
def test_the_node_says_what_is_wrong_with_a_request(shop: Node, command: list[str], code: int) -> None:
    outcome = shop.run(*command, "--json")
    assert outcome.code == code
    assert outcome.error["message"]
    assert shop.run(*command).code == code


@pytest.mark.parametrize(("command", "code"), [(["version"], 0), (["bogus"], 2), (["federation", "status"], 3)])
def test_the_program_ends_with_the_commands_code(home: Path, command: list[str], code: int) -> None:
    ended = process(*command, COVM_HOME=str(home))
    assert ended.code == code
    assert bool(ended.out) != bool(ended.err)


def test_a_bad_field_is_named_by_its_path(shop: Node) -> None:
    error = shop.run("publish", "shop.prices", '{"bread": [1, 3.5]}', "--json").error
    assert error["code"] == "invalid_message"
    assert error["details"]["path"] == "payload.bread[1]"


def test_5_when_a_peer_is_banned(shop: Node) -> None:
    shop.ask("ban", STRANGER, "--for", "1h")
    assert shop.run("connect", f"/ip4/127.0.0.1/tcp/9/p2p/{STRANGER}").code == 5
    shop.ask("unban", STRANGER)


def test_1_when_nobody_answers_at_an_address(folder: Path) -> None:
    home = folder / "a"
    covm("init", "--home", home)
    (home / "config.toml").write_text("[connection_retry]\nmax_retries = 0\n")
    node = Node(home)
    try:
        node.wait_ready()
        outcome = node.run("connect", f"/ip4/127.0.0.1/tcp/9/p2p/{STRANGER}", "--json")
        assert outcome.code == 1
        assert outcome.error["code"] == "connection_failed"
    finally:
        node.end()


def test_6_when_a_message_is_not_acknowledged_in_time(pair: tuple[Node, Node]) -> None:
    import signal

    bakery, farm = pair
    farm.process.send_signal(signal.SIGSTOP)
    try:
        outcome = bakery.run("send-msg", farm.peer_id, "private.message", "hello", "--timeout", "300ms", "--json")
    finally:
        farm.process.send_signal(signal.SIGCONT)
    assert outcome.code == 6
    assert outcome.error["code"] == "delivery_timeout"


def test_common_options_may_stand_before_the_command(shop: Node) -> None:
    assert covm("--json", "--home", shop.home, "federation", "status").json["peer_id"] == shop.peer_id


def test_the_home_may_come_from_the_environment(shop: Node) -> None:
    assert covm("federation", "status", "--json", COVM_HOME=str(shop.home)).json["peer_id"] == shop.peer_id
