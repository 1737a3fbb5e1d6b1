"""Kinds of settings: how each is read from text or TOML, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, Protocol

from covm.federation.config.durations import EXAMPLE, format_duration, parse_duration

_YES: Final = frozenset(("true", "yes", "on", "1"))
_NO: Final = frozenset(("false", "no", "off", "0"))


class Flaw(NamedTuple):
    """What is wrong with a value: where inside it (`[1]`, or nothing), which part, and what is allowed."""

    where: str
    value: object
    allowed: str


class Kind(Protocol):
    """A kind of setting."""

    def read(self, raw: object) -> Any:
        """The value from a file, the environment or an option. What it cannot read it hands on for `flaws` to tell."""

    def flaws(self, value: object) -> Iterator[Flaw]:
        """Everything that is wrong with a value."""


@dataclass(frozen=True)
class Whole:
    """A whole number in a range."""

    low: int
    high: int

    def read(self, raw: object) -> Any:
        if isinstance(raw, str) and raw.strip().removeprefix("-").isdecimal() and len(raw) <= 20:
            return int(raw)
        return raw

    def flaws(self, value: object) -> Iterator[Flaw]:
        if type(value) is not int or not self.low <= value <= self.high:
            yield Flaw("", value, f"must be a whole number from {self.low:,} to {self.high:,}")


class Switch:
    """Yes or no."""

    def read(self, raw: object) -> Any:
        word = raw.strip().lower() if isinstance(raw, str) else raw
        if word in _YES:
            return True
        return False if word in _NO else raw

    def flaws(self, value: object) -> Iterator[Flaw]:
        if type(value) is not bool:
            yield Flaw("", value, "must be true or false")


@dataclass(frozen=True)
class Duration:
    """A length of time in a range; a `timedelta` in Python, text with a unit elsewhere."""

    low: timedelta
    high: timedelta

    def read(self, raw: object) -> Any:
        if not isinstance(raw, str):
            return raw
        try:
            return parse_duration(raw)
        except ValueError:
            return raw

    def flaws(self, value: object) -> Iterator[Flaw]:
        span = f"from {format_duration(self.low)} to {format_duration(self.high)}"
        if not isinstance(value, timedelta):
            yield Flaw("", value, f"must be a duration {span}: {EXAMPLE}; in Python a timedelta")
        elif not self.low <= value <= self.high:
            yield Flaw("", value, f"must be a duration {span}")


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: Sequence[str]

    def read(self, raw: object) -> Any:
        return raw.strip().lower() if isinstance(raw, str) else raw

    def flaws(self, value: object) -> Iterator[Flaw]:
        if value not in self.words:
            one_of = self.words[0] if len(self.words) == 1 else f"one of {', '.join(self.words)}"
            yield Flaw("", value, f"must be {one_of}{did_you_mean(value, self.words)}")


@dataclass(frozen=True)
class Text:
    """Text that a rule judges: the rule returns what is allowed, or None for a good one."""

    rule: Callable[[str], str | None]
    optional: bool = False

    def read(self, raw: object) -> Any:
        return raw

    def flaws(self, value: object) -> Iterator[Flaw]:
        if value is None and self.optional:
            return
        if not isinstance(value, str):
            yield Flaw("", value, "must be text")
        elif allowed := self.rule(value):
            yield Flaw("", value, allowed)


@dataclass(frozen=True)
class Texts:
    """A list of different texts, each judged by a rule; comma-separated in the environment and in options."""

    rule: Callable[[str], str | None]
    most: int

    def read(self, raw: object) -> Any:
        if isinstance(raw, str):
            return [part for part in map(str.strip, raw.split(",")) if part]
        return raw

    def flaws(self, value: object) -> Iterator[Flaw]:
        if not isinstance(value, list | tuple):
            yield Flaw("", value, "must be a list of texts")
            return
        if len(value) > self.most:
            yield Flaw("", f"{len(value)} entries", f"at most {self.most} entries are allowed")
            return
        for index, item in enumerate(value):
            if not isinstance(item, str):
                yield Flaw(f"[{index}]", item, "must be text")
            elif item in value[:index]:
                yield Flaw(f"[{index}]", item, "is there twice; remove one of them")
            elif allowed := self.rule(item):
                yield Flaw(f"[{index}]", item, allowed)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`; did you mean max_connections?` when one of the known words is near."""
    near = difflib.get_close_matches(str(word).lower()[:100], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
