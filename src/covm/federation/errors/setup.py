"""A wrong configuration, and calls at the wrong time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from covm.federation.errors.root import FederationError


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong in a configuration: the field, the value and where it came from, what is allowed."""

    field: str
    value: str
    allowed: str
    source: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value} ({self.source}): {self.allowed}"


@dataclass(eq=False)
class ConfigError(FederationError):
    """The configuration is wrong; every problem is listed at once."""

    problems: Sequence[ConfigProblem]

    def __str__(self) -> str:
        count = len(self.problems)
        head = "the configuration has a problem:" if count == 1 else f"the configuration has {count} problems:"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


class LifecycleError(FederationError):
    """The service is not in the right state for the call."""


@dataclass(eq=False)
class NotStarted(LifecycleError):
    """The service does not run: not started yet, or stopped."""

    what: str = "the federation service"

    def __str__(self) -> str:
        return f"{self.what} is not running; call start(), or use it inside `async with`"


@dataclass(eq=False)
class AlreadyStarted(LifecycleError):
    """A service is started once."""

    what: str = "the federation service"

    def __str__(self) -> str:
        return f"{self.what} was already started; a stopped service is not started again, make a new one"
