"""The rows of shared data: both ends in one process, on SQLite. Bytes are those beyond the records themselves."""

from __future__ import annotations

from benchmarks.row import LONG_TIMEOUT_S, Figure, Goal, Row


def rows(*, quick: bool) -> list[Row]:
    """All of them, in the order of the table."""
    if quick:
        return [written(512, 64), first(500, 1), missing(500, 50, 1)]
    return [
        written(20_000, 256),
        first(100_000, 1),
        first(100_000, 1_000),
        missing(100_000, 1_000, 0, Goal(at_most=300)),
        missing(100_000, 1_000, 1, Goal(at_most=1_500)),
        missing(100_000, 1_000, 100),
        missing(100_000, 1_000, 1_000, Goal(at_most=200_000)),
        missing(100_000, 1, 1),
        missing(100_000, 1, 10_000),
    ]


def written(count: int, window: int) -> Row:
    figures = (
        Figure("per_s", "writes/s", 0, Goal(at_least=5_000)),
        Figure("p50_ms", "p50 ms until another node's program has one, when idle", 2, Goal(at_most=20)),
        Figure("p99_ms", "p99 ms", 2),
    )
    title = f"writes of 100 bytes, {window} at a time"
    return Row("sync-written", title, ("sync-written", str(count), str(window)), figures, beside="none")


def first(count: int, authors: int) -> Row:
    figures = (
        Figure("per_s", "records/s", 0, Goal(at_least=10_000)),
        Figure("took_s", "s", 1),
        Figure("grown_mib", "MiB more at the end", 0),
    )
    title = f"a first sync of {count:,} records of {_authors(authors)}"
    words = ("sync-first", str(count), str(authors))
    return Row(f"sync-first-{authors}", title, words, figures, beside="none", timeout_s=LONG_TIMEOUT_S)


def missing(count: int, authors: int, lacking: int, goal: Goal | None = None) -> Row:
    figures = (
        Figure("questions", "frames sent, HELLO among them", 0),
        Figure("overhead_bytes", "bytes", 0, goal),
        Figure("took_ms", "ms, connecting and all", 1),
    )
    title = f"{lacking:,} records missing of {count:,} of {_authors(authors)}"
    words = ("sync-missing", str(count), str(authors), str(lacking))
    return Row(f"sync-missing-{authors}-{lacking}", title, words, figures, beside="none", timeout_s=LONG_TIMEOUT_S)


def _authors(count: int) -> str:
    return "one author" if count == 1 else f"{count:,} authors"
