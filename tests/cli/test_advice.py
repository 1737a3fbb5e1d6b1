"""What a person at the command line is told: true whatever chance does, and with commands for advice."""

from __future__ import annotations

import dataclasses
import inspect
import tomllib
from pathlib import Path

import pytest
from tests.cli.processes import Node, covm

from covm.control.failures import problem_of
from covm.federation import errors

PYTHON = ("connect_peer", "types=[", "start()", "async with", "receipt,", "make a new one", "unban_peer")

ERRORS = [
    thing
    for thing in vars(errors).values()
    if inspect.isclass(thing) and issubclass(thing, errors.FederationError) and "__dataclass_fields__" in vars(thing)
]


def made(error: type[errors.FederationError]) -> errors.FederationError:
    """One of its kind, with its defaults and something in every other field."""
    samples = {"str": "kitchen", "int": 3, "float": 0.5}
    fields = [field for field in dataclasses.fields(error) if field.default is dataclasses.MISSING]  # type: ignore[arg-type]
    return error(**{field.name: samples.get(str(field.type), {}) for field in fields})


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_no_error_at_the_command_line_advises_a_call_in_python(error: type[errors.FederationError]) -> None:
    message = problem_of(made(error)).message
    assert not [call for call in PYTHON if call in message]
    assert "{" not in message


def test_in_python_the_same_error_advises_the_call() -> None:
    assert "connect_peer" in str(errors.PeerNotConnected("12D3KooWFarm"))


def test_a_log_that_shows_nothing_says_why(shop: Node) -> None:
    shop.ask("publish", "shop.note", "rye")
    for log in ("gossip-log", "messages"):
        assert "--limit 0 asks for nothing" in shop.run(log, "--limit", "0").out
        assert "of type shop.other" in shop.run(log, "--type", "shop.other").out
        assert shop.ask(log, "--limit", "0")


def test_the_version_is_the_packages() -> None:
    sources = Path(__file__).resolve().parents[2] / "Cargo.toml"
    version = tomllib.loads(sources.read_text())["workspace"]["package"]["version"]
    assert covm("version", "--json").json["covm"] == version
    assert f"covm {version} " in covm("version").out
    assert covm("--version").out == covm("version").out
