"""`covm config`: where each value came from, and everything that is wrong at once."""

from __future__ import annotations

from pathlib import Path

from tests.cli.processes import Node, covm


def test_each_value_shows_where_it_came_from(home: Path) -> None:
    covm("init", "--home", home, "--name", "Mill Bakery")
    shown = covm("config", "show", "--home", home, "--json", COVM_MAX_CONNECTIONS="7").json
    settings = {each["field"]: each for each in shown["settings"]}
    assert settings["name"]["value"] == "Mill Bakery"
    assert "config.toml" in settings["name"]["source"]
    assert (settings["max_connections"]["value"], settings["max_connections"]["source"]) == (7, "COVM_MAX_CONNECTIONS")
    assert (settings["heartbeat_interval"]["value"], settings["heartbeat_interval"]["source"]) == ("30s", "default")

    table = covm("config", "show", "--home", home, COVM_MAX_CONNECTIONS="7").out
    assert "max_connections" in table
    assert "COVM_MAX_CONNECTIONS" in table


def test_a_wrong_file_lists_every_problem_at_once(folder: Path) -> None:
    file = folder / "wrong.toml"
    file.write_text('max_connections = 0\nheartbeat_intervall = "30s"\nlisten_addresses = ["nowhere"]\n')
    outcome = covm("config", "check", file, "--json")
    assert outcome.code == 2
    problems = {problem["field"].split("[")[0] for problem in outcome.error["details"]["problems"]}
    assert problems == {"max_connections", "heartbeat_intervall", "listen_addresses"}

    told = covm("config", "check", file).err
    assert all(name in told for name in problems)
    assert len(told.splitlines()) == 4


def test_a_right_file_is_said_to_be_right(folder: Path) -> None:
    file = folder / "right.toml"
    file.write_text("max_connections = 7\n")
    assert covm("config", "check", file).code == 0
    assert covm("config", "check", file, "--json").json["ok"] is True


def test_a_file_that_is_not_there_is_not_found(folder: Path) -> None:
    assert covm("config", "check", folder / "nowhere.toml").code == 4


def test_a_node_with_a_wrong_configuration_does_not_start_and_says_all(home: Path) -> None:
    covm("init", "--home", home)
    (home / "config.toml").write_text('max_connections = 0\nheartbeat_interval = "soon"\n')
    outcome = covm("federation", "start", "--home", home)
    assert outcome.code == 2
    assert "max_connections" in outcome.err
    assert "heartbeat_interval" in outcome.err


def test_init_writes_what_it_is_given_so_that_start_needs_nothing_more(home: Path) -> None:
    address = "/ip4/127.0.0.1/tcp/0"
    made = covm("init", "--home", home, "--preset", "local", "--listen", address, "--name", 'Bäckerei 🥖 "Süd"')
    assert made.code == 0, made
    node = Node(home, preset=None)
    try:
        assert node.wait_ready().ready["name"] == 'Bäckerei 🥖 "Süd"'
        [listening] = node.addresses
        assert listening.startswith("/ip4/127.0.0.1/tcp/")
    finally:
        node.end()
    settings = covm("config", "show", "--home", home, "--json").json["settings"]
    assert {"field": "preset", "value": "local"}.items() <= settings[0].items()


def test_init_refuses_a_preset_that_there_is_not_and_an_address_that_is_none(home: Path) -> None:
    outcome = covm("init", "--home", home, "--preset", "locl", "--json")
    assert (outcome.code, outcome.error["details"]["problems"][0]["field"]) == (2, "preset")
    outcome = covm("init", "--home", home, "--listen", "nowhere", "--json")
    assert (outcome.code, outcome.error["details"]["problems"][0]["field"]) == (2, "listen_addresses[0]")
    assert not (home / "config.toml").exists()


def test_init_writes_no_name_that_would_not_do(home: Path) -> None:
    outcome = covm("init", "--home", home, "--network", "x" * 500, "--json")
    assert outcome.code == 2
    assert outcome.error["details"]["problems"][0]["field"] == "network"
    assert not (home / "identity.key").exists()


def test_init_does_not_change_a_configuration_that_is_there(home: Path) -> None:
    covm("init", "--home", home, "--name", "Mill Bakery")
    outcome = covm("init", "--home", home, "--name", "Other")
    assert outcome.code == 2
    assert (home / "config.toml").read_text() == 'name = "Mill Bakery"\n'


def test_what_init_says_comes_next_can_be_done(home: Path) -> None:
    create = f"covm federation create NAME --home {home}"
    made = covm("init", "--home", home, "--preset", "local", "--name", "Mill Bakery")
    assert f"next: {create}, or covm federation join LINK --home {home}" in made.out
    assert covm(*create.split()[1:]).code == 0
    assert f"next: covm federation start --home {home}" in covm("init", "--home", home).out


def test_init_says_start_for_an_open_federation_and_doctor_for_a_wrong_file(home: Path) -> None:
    made = covm("init", "--home", home, "--network", "valley")
    assert f"next: covm federation start --home {home}" in made.out
    (home / "config.toml").write_text("max_connections = 0\n")
    assert f"next: covm doctor --home {home}" in covm("init", "--home", home).out
