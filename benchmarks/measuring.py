"""Measures a row: service and floor in turn, as often as wanted; the medians count."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from benchmarks.rows import TIMEOUT_S, Figure, Row
from benchmarks.subject import Answer, Subject


@dataclass(frozen=True)
class Pair:
    """One figure of both."""

    figure: Figure
    service: float
    floor: float

    @property
    def ratio(self) -> float:
        return self.service / self.floor if self.floor else float("nan")

    @property
    def is_met(self) -> bool | None:
        """None without a goal."""
        return self.figure.goal.is_met(self.service, self.floor) if self.figure.goal else None


@dataclass(frozen=True)
class Measured:
    """A row with its figures, or with why there are none."""

    row: Row
    pairs: list[Pair] = field(default_factory=list)
    error: str = ""


def measure(row: Row, service: Subject, floor: Subject, repeat: int) -> Measured:
    """Raises `SubjectFailed`."""
    answers: list[tuple[Answer, Answer]] = []
    for number in range(repeat):
        # In turn, and the other one first the next time: what else the machine does should hit both.
        if number % 2:
            under = answer_of(row, floor)
            answers.append((answer_of(row, service), under))
        else:
            answers.append((answer_of(row, service), answer_of(row, floor)))
    pairs = [
        Pair(figure, median(own[figure.key] for own, _ in answers), median(under[figure.key] for _, under in answers))
        for figure in row.figures
    ]
    return Measured(row, pairs)


def answer_of(row: Row, subject: Subject) -> Answer:
    """One subject's figures for a row, with those that follow from others."""
    if row.is_pair:
        answer, server = subject.ask_pair(row.words, TIMEOUT_S)
        answer["cpu_us"] = (answer["cpu_s"] + server["cpu_s"]) * 1e6 / row.amount
    else:
        answer = subject.ask(row.words, TIMEOUT_S)
    if "expected" in answer:
        answer["delivered_percent"] = 100 * answer["delivered"] / answer["expected"]
    return answer
