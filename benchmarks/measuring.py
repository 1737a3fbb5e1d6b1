"""Measures a row: the service and what stands beside it in turn, as often as wanted; the medians count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.beside import Found, Missing
from benchmarks.row import Figure, Row
from benchmarks.subject import END_S, Answer, Subject


@dataclass(frozen=True)
class Pair:
    """One figure of both. None: this one does not have it."""

    figure: Figure
    service: float | None
    beside: float | None

    @property
    def ratio(self) -> float | None:
        return self.service / self.beside if self.service is not None and self.beside else None

    @property
    def is_met(self) -> bool | None:
        """None without a goal, or without what it is compared with."""
        if self.figure.goal is None or self.service is None:
            return None
        return self.figure.goal.is_met(self.service, self.beside)


@dataclass(frozen=True)
class Measured:
    """A row with its figures, or with why there are none; `note` says why nothing stands beside."""

    row: Row
    pairs: list[Pair] = field(default_factory=list)
    error: str = ""
    note: str = ""


def measure(row: Row, service: Subject, beside: Found, repeat: int) -> Measured:
    """Raises `SubjectFailed`."""
    own: list[Answer] = []
    others: list[Answer] = []
    for number in range(repeat):
        # In turn, and the other one first the next time: what else the machine does should hit both.
        for is_own in (number % 2 == 0, number % 2 != 0):
            if is_own and row.words:
                own.append(answer_of(row, service))
            elif not is_own and isinstance(beside, Subject):
                others.append(answer_beside(row, beside))
    pairs = [Pair(figure, _median(own, figure.key), _median(others, figure.key)) for figure in row.figures]
    return Measured(row, pairs, note=beside.why if isinstance(beside, Missing) else "")


def answer_of(row: Row, subject: Subject) -> Answer:
    """The service's figures for a row, with those that follow from others; a server's begin with `server_`."""
    return _asked(row, subject, row.words)


def answer_beside(row: Row, subject: Subject) -> Answer:
    """The figures of what stands beside."""
    if row.beside_words:
        return _derived(row, subject.ask(row.beside_words, row.timeout_s))
    return _asked(row, subject, row.words)


def _asked(row: Row, subject: Subject, words: Sequence[str]) -> Answer:
    if not row.server:
        return _derived(row, subject.ask(words, row.timeout_s))
    answer, server = subject.ask_pair(row.server, words, row.timeout_s, END_S)
    answer["cpu_s"] += server["cpu_s"]
    return _derived(row, {**answer, **{f"server_{key}": value for key, value in server.items()}})


def _derived(row: Row, answer: Answer) -> Answer:
    if "expected" in answer:
        answer["delivered_percent"] = 100 * answer["delivered"] / answer["expected"]
    if "cpu_s" in answer:
        answer["cpu_us"] = answer["cpu_s"] * 1e6 / row.amount
    return answer


def _median(answers: Sequence[Answer], key: str) -> float | None:
    values = [answer[key] for answer in answers if key in answer]
    return median(values) if values else None
