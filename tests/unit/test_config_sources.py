"""A configuration from defaults, preset, file, environment and options; each value says where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from covm.federation.config import FederationConfig
from covm.federation.errors import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, **options: Any) -> FederationConfig:
    return FederationConfig.load(path, environ=environ or {}, options=options)


def told(path: Path | None = None, environ: Mapping[str, str] | None = None, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, **options)
    return [str(problem) for problem in caught.value.problems]


def test_without_any_source_the_defaults_hold() -> None:
    assert load() == FederationConfig()


def test_each_source_stands_above_the_last(write: Write) -> None:
    path = write('preset = "local"\nheartbeat_interval = "7s"\nmax_connections = 10\nname = "file"\n')
    config = load(path, {"COVM_MAX_CONNECTIONS": "20", "COVM_NAME": "environment"}, name="option")
    assert config.enable_mdns is False
    assert config.heartbeat_interval == timedelta(seconds=7)
    assert config.max_connections == 20
    assert config.name == "option"


def test_every_setting_can_come_from_the_environment() -> None:
    config = load(
        environ={
            "COVM_LISTEN_ADDRESSES": "/ip4/127.0.0.1/tcp/0, /ip4/127.0.0.1/udp/0/quic-v1",
            "COVM_ENABLE_MDNS": "no",
            "COVM_MEMBERSHIP": "open",
            "COVM_CONNECTION_RETRY_MAX_RETRIES": "7",
            "COVM_CONNECTION_RETRY_BASE_DELAY": "250ms",
            "COVM_SYNC_INTERVAL": "1h",
            "COVM_NAME": "",
            "PATH": "/bin",
        }
    )
    assert config.listen_addresses == ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
    assert not config.enable_mdns
    assert config.connection_retry.max_retries == 7
    assert config.connection_retry.base_delay == timedelta(milliseconds=250)
    assert config.sync_interval == timedelta(hours=1)


def test_options_are_taken_as_typed_with_dashes_dots_or_as_values() -> None:
    options = {
        "max-connections": "12",
        "connection_retry.max_retries": 3,
        "connection-retry-max-delay": "2m",
        "heartbeat_interval": timedelta(seconds=9),
        "enable_mdns": False,
        "network": None,
    }
    config = FederationConfig.load(environ={}, options=options)
    assert config.max_connections == 12
    assert config.connection_retry.max_retries == 3
    assert config.connection_retry.max_delay == timedelta(minutes=2)
    assert config.heartbeat_interval == timedelta(seconds=9)
    assert config.network == "covm"


def test_the_file_in_the_home_is_read_when_there_is_one(write: Write) -> None:
    home = write('network = "bakers"\n').parent
    assert load(environ={"COVM_HOME": str(home)}).network == "bakers"
    assert load(home=str(home)).network == "bakers"
    assert load(home=str(home / "empty")).network == "covm"


def test_all_problems_of_all_sources_are_told_with_their_place(write: Write) -> None:
    path = write(
        'preset = "wam"\n'
        "max_conections = 5\n"
        "heartbeat_interval = 30\n"
        "\n"
        "[connection_retry]\n"
        "max_retires = 3\n"
        'base_delay = "soon"\n'
    )
    environ = {"COVM_MAX_CONNECTIONS": "many", "COVM_MEMBERSHP": "open"}
    found = told(path, environ, log_level="inf", listen_addresses="/ip4/0.0.0.0/tcp/1,bogus")
    for expected in (
        f'preset = "wam" ({path} line 1): must be one of local, lan, wan; did you mean wan?',
        f"max_conections = 5 ({path} line 2): is not a setting; did you mean max_connections?",
        f"heartbeat_interval = 30 ({path} line 3): must be a duration from 100ms to 1h",
        f"connection_retry.max_retires = 3 ({path} line 6): is not a setting; did you mean connection_retry.max_ret",
        f'connection_retry.base_delay = "soon" ({path} line 7): must be a duration',
        'max_connections = "many" (COVM_MAX_CONNECTIONS): must be a whole number',
        'membershp = "open" (COVM_MEMBERSHP): is not a setting; did you mean membership?',
        'log_level = "inf" (option --log-level): must be one of debug, info',
        'listen_addresses[1] = "bogus" (option --listen-addresses): ',
    ):
        assert any(problem.startswith(expected) for problem in found), expected
    assert len(found) == 9


def test_a_contradiction_is_told_beside_the_problems_of_every_source(write: Write) -> None:
    path = write('max_conections = 5\n[connection_retry]\nbase_delay = "5m"\n')
    found = told(path, {"COVM_MAX_CONNECTIONS": "many"}, connection_retry_max_delay="1s")
    assert len(found) == 3
    assert any(
        problem.startswith('connection_retry.max_delay = "1s" (option --connection-retry-max-delay): must not be below')
        for problem in found
    )


@pytest.mark.parametrize(
    "text",
    [
        # The default of what is wrong would contradict; it is not what was meant.
        '[connection_retry]\nbase_delay = "soon"\nmax_delay = "500ms"\n',
        # Nobody knows what the preset would have said of `base_delay`.
        'preset = "locla"\n[connection_retry]\nmax_delay = "500ms"\n',
    ],
)
def test_a_value_that_is_wrong_by_itself_is_not_told_as_a_contradiction_too(write: Write, text: str) -> None:
    assert len(told(write(text))) == 1


def test_a_wrong_value_below_does_not_hide_the_contradiction_above(write: Write) -> None:
    path = write('[connection_retry]\nbase_delay = "soon"\nmax_delay = "1s"\n')
    found = told(path, {"COVM_CONNECTION_RETRY_BASE_DELAY": "5m"})
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max_connections = ", "is not TOML"),
        ("connection_retry = 5", "must be a table with the settings max_retries, base_delay, max_delay"),
        ("[zebra]\nstripes = 5", "`covm config show` lists them all"),
        ("x = '" + "y" * 300_000 + "'", "more than 256 KiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_told(write: Write, text: str, why: str) -> None:
    assert any(why in problem for problem in told(write(text)))


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes('name = "Bäckerei"'.encode("latin-1"))
    assert "is not TOML" in told(path)[0]


def test_a_named_file_that_is_missing_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in told(tmp_path / "nowhere.toml")[0]


def test_explain_tells_each_value_and_where_it_came_from(write: Write) -> None:
    path = write('preset = "lan"\n[connection_retry]\nmax_retries = 7\n')
    explained = FederationConfig.explain(path, environ={"COVM_NETWORK": "bakers"}, options={"name": "ada"})
    found = {setting.field: (setting.value, setting.source) for setting in explained}
    assert found["preset"] == ("lan", f"{path} line 1")
    assert found["heartbeat_interval"] == ("10s", "preset lan")
    assert found["connection_retry.max_retries"] == (7, f"{path} line 3")
    assert found["network"] == ("bakers", "COVM_NETWORK")
    assert found["name"] == ("ada", "option --name")
    assert found["sync_interval"] == ("5m", "default")
    assert found["home"] == (None, "default")
    assert 'network = "bakers" (COVM_NETWORK)' in map(str, explained)
