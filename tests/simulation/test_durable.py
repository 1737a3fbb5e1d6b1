"""Stories of durable types in which everything fails that can, and builds that break a promise of them."""

from __future__ import annotations

import pytest
from tests.simulation.broken_builds import Broken
from tests.simulation.durable_broken_builds import BROKEN
from tests.simulation.durable_story import tell

FOUND = (14, 66, 68)
"""Handlers were given records again and not told so: on which they had failed late, which did not count for a while, or
behind a short life after a crash."""


@pytest.mark.parametrize("seed", [*range(8), *FOUND])
def test_each_handler_is_given_each_record_whatever_happens(seed: int) -> None:
    assert tell(seed) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_build_that_breaks_a_promise_of_durable_types_is_caught(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.require_caught(tell, monkeypatch)
