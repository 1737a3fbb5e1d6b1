"""Stories of shared data in which everything fails that can: all end with the same, and a broken build does not."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.simulation.broken_builds import Broken
from tests.simulation.shared_broken_builds import BROKEN
from tests.simulation.shared_scenario import tell_shared
from tests.simulation.test_seeds import run

SEEDS = 120


def story(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("--story", "shared", *arguments)


@pytest.mark.timeout(600)
def test_stories_of_shared_data_break_no_promise() -> None:
    done = story("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds" in done.stdout


@pytest.mark.parametrize("seed", [3, 8])
def test_a_story_of_shared_data_told_again_leaves_the_same_trace(seed: int) -> None:
    traces = {re.findall(r"^trace (\w+)$", story("--seed", str(seed), "--quiet").stdout, re.MULTILINE)[0] for _ in "ab"}
    assert len(traces) == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_build_that_breaks_a_promise_of_shared_data_is_caught(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.require_caught(lambda seed: tell_shared(seed).broken, monkeypatch)
