"""Two nodes publish to each other what is durable while one, the other or both are killed, again and again."""

from __future__ import annotations

import time

import pytest
from tests.crashes.conftest import PairMaker
from tests.crashes.ledger import Sent
from tests.crashes.news import is_plan, live_with_news
from tests.crashes.nodes import LOOK_EVERY_S, PATIENCE_S, Node, Pair
from tests.crashes.promises import News, news_problems
from tests.crashes.test_crashes import crash_again_and_again

CYCLES = 8


@pytest.mark.timeout(300)
def test_every_handler_is_given_every_publication_over_eight_crashes(make_pair: PairMaker) -> None:
    pair = make_pair(life=live_with_news, mill={"window": 2}, farm={"window": 2})
    pair.start()
    crash_again_and_again(pair, CYCLES)
    for node in pair.both:
        node.ask("pause")
    for node in pair.both:
        node.ask("archive")
    assert not problems(pair), pair.told()
    for node in pair.both:
        assert any(is_plan(number) for number in Sent.read(node.folder).queued)
        node.stop()


def problems(pair: Pair) -> dict[str, list[str]]:
    """Promises that do not hold, by the node whose handlers they were made to, once all has come that will."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        given = {node.settings.name: node.ask("given") for node in pair.both}
        found = {node.settings.name: news_problems(_news(pair, node, given)) for node in pair.both}
        if given["mill"]["held"] != given["farm"]["held"]:
            found["mill"].append("it does not hold what the farm does")
        if not any(found.values()) or time.monotonic() > deadline:
            return {name: told for name, told in found.items() if told}
        time.sleep(LOOK_EVERY_S)


def _news(pair: Pair, node: Node, given: dict[str, dict[str, list[int]]]) -> News:
    sent = [Sent.read(each.folder) for each in pair.both]
    begun = {number for each in sent for number in each.begun}
    mine = given[node.settings.name]
    return News(
        begun=begun,
        published=sorted(
            {*(n for each in sent for n in each.queued), *(n for each in given.values() for n in each["said"])}
        ),
        large={number for number in begun if is_plan(number)},
        plain=node.plain_effects(),
        ledger=mine["ledger"],
        archive=mine["archive"],
        held=mine["held"],
        crashes=node.lives - 1,
    )
