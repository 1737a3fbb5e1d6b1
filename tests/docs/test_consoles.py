"""What the README and the handbook say one types and sees is typed, and seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import ROOT, blocks, pages_with
from tests.docs.terminal import Terminal


@pytest.mark.parametrize("page", pages_with("console"), ids=lambda page: page.name)
def test_what_is_typed_prints_what_the_page_says(page: Path) -> None:
    with Terminal() as terminal:
        for block in blocks(page, "console"):
            terminal.follow(block)


def test_the_tour_goes_through_a_nodes_whole_life() -> None:
    typed = "\n".join(block.text for block in blocks(ROOT / "README.md", "console"))
    steps = [
        "init",
        "start",
        "connect",
        "peers",
        "publish",
        "messages",
        "send-msg",
        "gossip-log",
        "stats",
        "ban",
        "unban",
        "stop",
    ]
    missing = [step for step in steps if f" {step} " not in typed]
    assert not missing
