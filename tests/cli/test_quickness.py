"""Commands answer at once because they load little: what they load is looked at, not the time that it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.processes import environment

from covm.cli.durations import milliseconds
from covm.control.failures import Invalid

HEAVY = ("covm._native", "covm.federation.service", "starlette", "uvicorn", "rich", "structlog", "asyncio")

LOOK = f"""
import sys
from covm.cli.app import run
code = run(sys.argv[1:])
print(code, *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["federation", "status"],
        ["federation", "peers"],
        ["federation", "connect", "/ip4/127.0.0.1/tcp/1"],
        ["federation", "ban", "x", "--for", "5m"],
        ["federation", "bans"],
        ["federation", "publish", "shop.news", "{}"],
        ["federation", "send-msg", "x", "shop.news", "{}", "--timeout", "1m"],
        ["federation", "send-file", "x", __file__],
        ["federation", "transfers"],
        ["federation", "outbox"],
        ["federation", "outbox", "cancel", "3da2"],
        ["federation", "inbox"],
        ["federation", "quarantine"],
        ["federation", "gossip-log", "--follow"],
        ["federation", "messages"],
        ["federation", "stats"],
        ["federation", "types"],
        ["federation", "stop"],
    ],
    ids=lambda command: "-".join(command[1:3]),
)
def test_a_command_to_a_node_loads_neither_the_federation_nor_the_tables(home: Path, command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOOK, *command, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert ended.stderr.splitlines()[-1] == "3"


def test_the_version_is_told_without_loading_the_core() -> None:
    command = [sys.executable, "-c", LOOK, "version", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert ended.stderr.splitlines()[-1] == "0"


@given(st.from_regex(r"([0-9]{1,3}d)?([0-9]{1,3}h)?([0-9]{1,3}m)?([0-9]{1,3}s)?([0-9]{1,3}ms)?x?", fullmatch=True))
def test_durations_are_read_as_in_a_configuration(text: str) -> None:
    from covm.federation.config import parse_duration

    try:
        expected = round(parse_duration(text).total_seconds() * 1000)
    except ValueError:
        expected = 0
    try:
        read = milliseconds(text, "--for")
    except Invalid:
        read = 0
    assert read == expected
