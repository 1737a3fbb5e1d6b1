"""Stories of members who come and go while they share data: exactly that counts which the cuts keep."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.simulation.broken_builds import Broken
from tests.simulation.test_seeds import run
from tests.simulation.village_broken_builds import BROKEN
from tests.simulation.village_scenario import tell_village

SEEDS = 80


def story(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("--story", "village", *arguments)


@pytest.mark.timeout(900)
def test_stories_of_a_village_break_no_promise() -> None:
    done = story("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds" in done.stdout


@pytest.mark.parametrize("seed", [80, 78, 233])
def test_a_story_of_a_village_that_once_broke_a_promise_breaks_none(seed: int) -> None:
    done = story("--seed", str(seed), "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_story_of_a_village_told_again_leaves_the_same_trace() -> None:
    traces = {re.findall(r"^trace (\w+)$", story("--seed", "8", "--quiet").stdout, re.MULTILINE)[0] for _ in "ab"}
    assert len(traces) == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_build_that_breaks_a_promise_to_members_is_caught(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.require_caught(lambda seed: tell_village(seed).broken, monkeypatch)
