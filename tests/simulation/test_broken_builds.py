"""The checkers can fail: each broken build is caught, in a story that the honest build comes through."""

from __future__ import annotations

import gc
import re

import pytest
from tests.simulation.broken_builds import BROKEN, Broken
from tests.simulation.scenario import Told, tell


def told(seed: int) -> Told:
    try:
        return tell(seed)
    finally:
        gc.collect()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_build_that_breaks_a_promise_is_caught(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in broken.seeds:
        with monkeypatch.context() as patch:
            broken.build(patch)
            found = told(seed).broken
        if any(re.search(broken.gives_away, each) for each in found):
            assert told(seed).broken == (), "the honest build does not come through this story either"
            return
    pytest.fail(f"none of the stories {broken.seeds} gives away a build that {broken.name.replace('_', ' ')}")
