"""What the stories about members have in common: homes that found and join, and waiting for what nodes tell others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.processes import START_S, Node, Outcome, covm


def until(condition: Callable[[], object]) -> None:
    """Asks again and again: what nodes tell each other takes them a moment."""
    end_s = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.1)


def made(folder: Path, place: str, name: str) -> Path:
    """A home."""
    assert covm("init", "--home", folder / place, "--preset", "local", "--name", name).code == 0
    return folder / place


def founded(folder: Path, place: str = "mill", name: str = "Mill Bakery") -> str:
    """A home whose member has founded a federation alone; its id."""
    answer = covm("federation", "create", "Three Valleys", "--home", made(folder, place, name), "--json").json
    return str(answer["federation"])


def joined(folder: Path, inviting: Node, place: str, name: str) -> None:
    """A home whose member was invited, and is in."""
    link = inviting.ask("invite")["link"]
    outcome = covm("federation", "join", link, "--home", made(folder, place, name))
    assert outcome.code == 0, outcome
    assert f"{name} is a member of Three Valleys as member" in outcome.out


def names(node: Node) -> list[str]:
    """Who is a member, as a node knows it."""
    return [each["name"] for each in node.ask("members")["members"] if each["member"]]


def identity(home: Path, *arguments: str | Path, **extra: Any) -> Outcome:
    """`covm identity ...` on a home."""
    command, *rest = arguments
    return covm("identity", command, "--home", home, *rest, **extra)


def done(home: Path, *arguments: str | Path, **extra: Any) -> dict[str, Any]:
    """The same with --json; it must succeed."""
    outcome = identity(home, *arguments, "--json", **extra)
    assert outcome.code == 0, outcome
    return outcome.json


def entries(home: Path, *arguments: str | Path) -> list[tuple[int, str, bool]]:
    """The log of a home's member: number, entry, whether it is in force."""
    return [(each["seq"], each["op"], each["in_force"]) for each in done(home, "log", *arguments)["entries"]]
