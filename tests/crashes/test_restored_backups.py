"""A node goes back in time, amid traffic: both sides notice and say so, and go on; nothing new is taken for old."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.processes import covm
from tests.crashes.conftest import PairMaker
from tests.crashes.ledger import Sent
from tests.crashes.nodes import Forgotten, Node, Pair

SINCE_BACKUP = 400
"""Plain messages handled on both sides after the backup: with as many of the other kinds beside them, more than a
sender holds on to once they are acknowledged."""

PASSPHRASE = "the mill by the river"


@dataclass(frozen=True)
class Moment:
    """What certainly was in the node's store when the backup began, as the last number of each."""

    queued: int
    """Messages of its own."""
    answered: int
    """Those of its own that were answered."""
    effects: int
    """The other's, of both kinds."""


def moment(pair: Pair, node: Node) -> Moment:
    # First the plain ones: what is handled meanwhile only makes the other number too large to be the lesser.
    plain = max(number for number, _ in node.plain_effects())
    done = node.ask("effects")
    exact = max(number for number, _ in done["exact"])
    return Moment(max(Sent.read(node.folder).queued), max(done["answers"]), min(plain, exact))


def since(pair: Pair, node: Node, then: Moment) -> Forgotten:
    """What the backup may cost. To be asked while the node is dead."""
    own, others = (max(Sent.read(each.folder).begun) + 1 for each in (node, pair.other(node)))
    name, other = node.settings.name, pair.other(node).settings.name
    return Forgotten(
        effects={name: range(then.queued + 1, own), other: range(then.effects + 1, others)},
        answers={name: range(then.answered + 1, own), other: range(then.effects + 1, others)},
    )


@pytest.mark.parametrize("restored", ["mill", "farm"])
def test_a_snapshot_of_the_machine_put_back_is_noticed_by_both(
    make_pair: PairMaker, place: Path, restored: str
) -> None:
    def put_back(node: Node) -> None:
        shutil.rmtree(node.home)
        shutil.copytree(place / "snapshot", node.home)

    pair = make_pair()
    node: Node = getattr(pair, restored)
    forgotten = _goes_back(pair, node, lambda: node.snapshot(place / "snapshot"), put_back)
    pair.wait(lambda: node.events("RolledBack"), "the proof that it was rolled back")
    _goes_on(pair, node, forgotten)


@pytest.mark.parametrize("restored", ["mill", "farm"])
def test_a_restored_backup_begins_anew_and_is_noticed_by_both(make_pair: PairMaker, place: Path, restored: str) -> None:
    backup, secret = place / "backup", place / "passphrase"
    secret.write_text(PASSPHRASE)

    def save() -> None:
        outcome = covm("store", "backup", backup, "--home", node.home, "--passphrase-file", secret)
        assert outcome.code == 0, outcome

    def put_back(node: Node) -> None:
        words = ("store", "restore", backup, "--home", node.home, "--replace", "--passphrase-file", secret)
        outcome = covm(*words)
        assert outcome.code == 0, outcome

    pair = make_pair()
    node: Node = getattr(pair, restored)
    _goes_on(pair, node, _goes_back(pair, node, save, put_back))


def _goes_back(pair: Pair, node: Node, save: Callable[[], None], put_back: Callable[[Node], None]) -> Forgotten:
    """Traffic, a backup, traffic, and the node is put back to it; both run again and send."""
    pair.start()
    pair.wait_progress(*pair.both, effects=SINCE_BACKUP // 2)
    then = moment(pair, node)
    save()
    pair.wait_progress(*pair.both, effects=SINCE_BACKUP)
    node.kill()
    forgotten = since(pair, node, then)
    put_back(node)
    pair.launch(node)
    return forgotten


def _goes_on(pair: Pair, node: Node, forgotten: Forgotten) -> None:
    """Both say what they found, and everything that was sent since arrives once."""
    other = pair.other(node)
    pair.wait(lambda: node.events("ReceivedLess"), "that it holds less than it had acknowledged")
    pair.wait(lambda: other.events("PeerRolledBack"), "that its peer holds less than it had acknowledged")
    pair.wait_progress(*pair.both, effects=SINCE_BACKUP // 2)
    pair.settle()
    assert not pair.problems(forgotten), f"{pair.told()}; {forgotten}"
    for each in pair.both:
        each.stop()
