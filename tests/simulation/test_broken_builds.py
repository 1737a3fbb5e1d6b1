"""The checkers can fail: each broken build is caught, in a story that the honest build comes through."""

from __future__ import annotations

import pytest
from tests.simulation.broken_builds import BROKEN, Broken
from tests.simulation.scenario import tell


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_build_that_breaks_a_promise_is_caught(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.require_caught(lambda seed: tell(seed).broken, monkeypatch)
