"""Two nodes send to each other while one, the other or both are killed at random moments, again and again."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.crashes.conftest import PairMaker
from tests.crashes.ledger import Sent
from tests.crashes.nodes import Node, Pair

CYCLES = 50
CYCLES_ON_POSTGRESQL = 8

WORK_S = 0.25
"""Up to so long a pair works on, once both have received something: a few hundred messages, a hundred commits."""

START_S = 0.8
"""Up to so long after its beginning a life may end before it took part: in a migration, in loading, in a HELLO."""

SHARE_OF_EARLY_ENDS = 0.25

SEED = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_happens_twice_over_fifty_crashes(make_pair: PairMaker) -> None:
    pair = make_pair()
    pair.start()
    crash_again_and_again(pair, CYCLES)
    keeps_its_promises(pair)


@pytest.mark.timeout(300)
def test_nothing_is_lost_on_postgresql_either(make_pair: PairMaker, postgresql_url: Callable[[], str]) -> None:
    pair = make_pair(mill={"store_url": postgresql_url()}, farm={"store_url": postgresql_url()})
    pair.start()
    crash_again_and_again(pair, CYCLES_ON_POSTGRESQL)
    keeps_its_promises(pair)


def crash_again_and_again(pair: Pair, cycles: int) -> None:
    """Kills as the seed says; when exactly, the machine says too. Each cycle leaves both running and sending."""
    sys.stdout.write(f"to draw the same again: CRASH_SEED={SEED}\n")
    chance = random.Random(SEED)
    for _ in range(cycles):
        victims = chance.choice([pair.both, pair.both[:1], pair.both[1:]])
        pair.wait_progress(*pair.both)
        pause(chance.uniform(0, WORK_S))
        kill(victims)
        if chance.random() < SHARE_OF_EARLY_ENDS:
            for victim in victims:
                victim.launch()
            pause(chance.uniform(0, START_S))
            kill(victims)
        pair.launch(*victims)


def kill(victims: tuple[Node, ...]) -> None:
    for victim in victims:
        victim.kill()


def pause(moment_s: float) -> None:
    """Lets things happen for a time that chance has drawn; nothing is waited for."""
    time.sleep(moment_s)


def keeps_its_promises(pair: Pair) -> None:
    """Nothing queued is lost, no effect twice, lanes in order; and the senders know what became of it."""
    pair.settle()
    assert not pair.problems(), pair.told()
    for node in pair.both:
        sent = Sent.read(node.folder)
        assert sent.stored <= set(sent.queued)
    # The other's receipts travel behind the effects that have been seen.
    pair.wait(lambda: all(_last_receipts(node) == {"handled"} for node in pair.both), "the last receipts")
    for node in pair.both:
        node.stop()


def _last_receipts(node: Node) -> set[str]:
    queued = Sent.read(node.folder).queued
    return {node.ask("receipt", id=queued[number])["state"] for number in sorted(queued)[-20:]}


def test_a_killed_node_finds_its_home_free(make_pair: PairMaker, place: Path) -> None:
    pair = make_pair()
    pair.launch(pair.mill, load=False)
    pair.mill.kill()
    pair.launch(pair.mill, load=False)
    pair.mill.stop()


def test_a_node_that_starts_alone_writes_to_those_it_knew(make_pair: PairMaker) -> None:
    pair = make_pair()
    pair.start()
    pair.wait_progress(*pair.both)
    for node in pair.both:
        node.kill()
    pair.mill.settings.peer_address = ""
    before = len(Sent.read(pair.mill.folder).queued)
    pair.launch(pair.mill)
    pair.wait(lambda: len(Sent.read(pair.mill.folder).queued) > before, "a message to who is away", pair.mill)
    pair.launch(pair.farm)
    keeps_its_promises(pair)
