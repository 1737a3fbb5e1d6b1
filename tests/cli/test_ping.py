"""`covm federation ping`, and all of one peer."""

from __future__ import annotations

import time

from tests.cli.processes import Node


def test_a_connected_peer_is_measured_and_all_of_it_is_shown(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    answer = bakery.ask("ping", farm.peer_id, "--count", "3")
    assert len(answer["round_trips_ms"]) == 3
    assert 0 <= answer["min_ms"] <= answer["avg_ms"] <= answer["max_ms"] < 1000
    told = bakery.run("ping", farm.peer_id)
    assert "is connected directly" in told.out
    assert "4 answered, 0 lost; min/avg/max" in told.out
    shown = bakery.run("peers", farm.peer_id)
    for fact in ("way ", "round trip ", "clock ", "versions ", "ADDRESS", "connected"):
        assert fact in shown.out
    assert shown.out.count(farm.peer_id) == 1, "addresses are shown without it"
    assert bakery.run("peers", "--long").out.startswith("name")


def test_of_a_peer_that_is_gone_it_says_what_was_tried_and_when_it_is_tried_again(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    bakery.ask("connect", farm.ready["addresses"][0])
    farm.ask("stop")
    deadline_s = time.monotonic() + 30
    while True:
        outcome = bakery.run("ping", farm.peer_id, "--json")
        [first, *_] = outcome.json["peer"]["ways"]
        if first["error"] and outcome.json["peer"]["next_try"]:
            break
        assert time.monotonic() < deadline_s, outcome.out
    assert outcome.code == 1
    assert outcome.json["round_trips_ms"] == []
    told = bakery.run("ping", farm.peer_id)
    assert told.code == 1
    assert first["error"][:20] in told.out
    assert "is not connected" in told.err


def test_an_unknown_peer_and_too_many_are_told(pair: tuple[Node, Node]) -> None:
    bakery, farm = pair
    assert bakery.run("ping", "nobody").code == 4
    for count in ("17", "0", "-3"):
        told = bakery.run("ping", farm.peer_id, "--count", count)
        assert told.code == 2
        assert f"--count is {count}: it must be 1 to 16" in told.err
    assert bakery.run("peers", "nobody").code == 4


def test_nobody_is_called_by_an_empty_name(pair: tuple[Node, Node]) -> None:
    bakery, _ = pair
    for command in ("ping", "peers"):
        told = bakery.run(command, "")
        assert told.code == 4, told
        assert "no peer here is called ''" in told.err
