"""`covm federation stats` for people: groups that can be read, whatever the names in them."""

from __future__ import annotations

from typing import Any

from tests.cli.processes import Node

from covm.cli.statistics import counters_told

LONG = "governance.proposal.amendment.of.an.amendment.of.an.amendment"


def told(**counters: Any) -> list[str]:
    return list(counters_told(counters))


def traffic(**by_type: int) -> dict[str, Any]:
    types = {name.replace("_", "."): {"messages": count, "bytes": 2000 * count} for name, count in by_type.items()}
    return {"messages": sum(by_type.values()), "bytes": 2000 * sum(by_type.values()), "by_type": types}


def test_a_long_name_does_not_run_into_its_count() -> None:
    came = {"messages": 3, "bytes": 700, "by_type": {LONG: {"messages": 3, "bytes": 700}}}
    lines = told(messages={"gossip": {"in": came, "out": traffic()}}, queues={"outbox": {"messages": 41}})
    [line] = [line for line in lines if LONG in line]
    assert line.split() == [LONG, "3", "(700", "B)", "0"]
    [line] = [line for line in lines if "outbox messages" in line]
    assert line.split()[-1] == "41"


def test_each_type_stands_below_its_way_with_both_directions() -> None:
    assert told(messages={"direct": {"in": traffic(shop_note=1), "out": traffic(shop_note=2, shop_news=1)}}) == [
        "messages       in           out",
        "  direct       1 (2.0 KiB)  3 (5.9 KiB)",
        "    shop.news  0            1 (2.0 KiB)",
        "    shop.note  1 (2.0 KiB)  2 (3.9 KiB)",
    ]


def test_nothing_dropped_is_said_in_words(shop: Node) -> None:
    assert ["dropped", "nothing"] in [line.split() for line in shop.run("stats").out.splitlines()]
    assert told(dropped={"duplicate": 2}) == ["dropped", "  duplicate  2"]
