"""Errors of the federation in commands that load it, as the failures that every command has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from covm.control.failures import KINDS, problem_of


@contextmanager
def as_failures() -> Iterator[None]:
    """Turns what the federation raises into the `ControlError` of its kind."""
    from covm.federation.errors import FederationError

    try:
        yield
    except FederationError as error:
        problem = problem_of(error)
        raise KINDS[problem.kind](problem.message, code=problem.code, details=problem.details) from error
