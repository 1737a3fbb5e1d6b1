"""Two nodes send to each other over a line that fails in every way that lines do; nothing is lost or done twice."""

from __future__ import annotations

import pytest
from tests.chaos.conftest import LinedPairMaker
from tests.chaos.link import Fault, Link
from tests.chaos.programs import correspond, publish
from tests.crashes.ledger import Sent
from tests.crashes.nodes import Node, Pair
from tests.crashes.test_crashes import keeps_its_promises
from tests.crashes.test_durable_crashes import problems

SLOW = (Fault.DELAY, Fault.DRIP)
"""Everything comes, and the nodes stay connected."""

FATAL = tuple(fault for fault in Fault if fault not in (Fault.FINE, *SLOW, Fault.STALL))
"""The nodes lose each other."""


def losses(pair: Pair) -> list[int]:
    """How often each has lost the other."""
    return [len(node.events("PeerDisconnected")) for node in pair.both]


def is_connected(node: Node) -> bool:
    """Whether it has found the other again as often as it has lost it."""
    return len(node.events("PeerConnected")) > len(node.events("PeerDisconnected"))


def begin(pair: Pair) -> None:
    """Starts both, until they are connected and get on; a node's own publications it handles alone too."""
    pair.start()
    pair.wait(lambda: all(is_connected(node) for node in pair.both), "a connection")
    pair.wait_progress(*pair.both)


def suffers(pair: Pair, link: Link, fault: Fault) -> None:
    """The line fails until it has made itself felt, and is mended; then the nodes find each other again."""
    if fault in SLOW:
        link.become(fault)
        pair.wait_progress(*pair.both)
    else:
        before = losses(pair)
        link.become(fault)
        pair.wait(lambda: all(now > then for now, then in zip(losses(pair), before, strict=True)), f"a loss by {fault}")
    link.become(Fault.FINE)
    pair.wait(lambda: all(is_connected(node) for node in pair.both), f"a new connection after {fault}")
    pair.wait_progress(*pair.both)


@pytest.mark.parametrize("fault", [*SLOW, *FATAL, Fault.STALL])
def test_a_line_that_fails_costs_no_message_and_no_effect_twice(
    make_pair: LinedPairMaker, link: Link, fault: Fault
) -> None:
    pair = make_pair(correspond)
    begin(pair)
    suffers(pair, link, fault)
    keeps_its_promises(pair)


@pytest.mark.timeout(300)
def test_one_fault_after_the_other_costs_nothing_either(make_pair: LinedPairMaker, link: Link) -> None:
    pair = make_pair(correspond)
    begin(pair)
    for fault in (*FATAL, *SLOW, Fault.STALL, *FATAL):
        suffers(pair, link, fault)
    keeps_its_promises(pair)


@pytest.mark.timeout(300)
def test_durable_publications_arrive_whatever_the_line_does(make_pair: LinedPairMaker, link: Link) -> None:
    pair = make_pair(publish, mill={"window": 2}, farm={"window": 2})
    begin(pair)
    for fault in (*FATAL, *SLOW):
        suffers(pair, link, fault)
    for node in pair.both:
        node.ask("pause")
    for node in pair.both:
        node.ask("archive")
    assert not problems(pair), pair.told()
    for node in pair.both:
        assert Sent.read(node.folder).queued
        node.stop()
