"""The public names: all there, all documented, loaded when they are used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import covm.federation
from covm.federation import FederationService

HEAVY = ("sqlalchemy", "rich", "starlette", "structlog", "cyclopts", "covm._native")


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = f"import sys, covm.federation; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", covm.federation.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(covm.federation, name))
    assert name in dir(covm.federation)


def test_the_table_of_names_is_the_list_of_names() -> None:
    assert sorted(covm.federation._HOMES) == sorted(covm.federation.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        covm.federation.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", [name for name in vars(FederationService) if not name.startswith("_")])
def test_every_part_of_the_service_says_what_it_promises(name: str) -> None:
    assert inspect.getdoc(getattr(FederationService, name))
