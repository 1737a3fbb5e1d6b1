"""The rows: what is asked of service and floor, and what is read from the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import discovery_rows, durable_rows, membership_rows, peer_rows, replica_rows
from benchmarks.row import Figure, Goal, Row

GOSSIP = ((2, 8000, 4000), (10, 1000, 50), (10, 2000, 200), (10, 5000, 1000), (30, 400, 20))
"""Nodes in one process, messages, messages a second."""

WINDOW = 256
"""Messages under way in the pipelined row."""


P50, P99, RSS = Figure("p50_ms", "p50 ms"), Figure("p99_ms", "p99 ms"), Figure("rss_mib", "RSS MiB", 0)


def connect(runs: int) -> Row:
    figures = (Figure("p50_ms", "p50 ms", 2, Goal(at_most=10)), P99)
    return Row("connect", "dial until both sides count each other as connected", ("connect", str(runs)), figures)


def direct(messages: int, window: int, at_least_per_s: float) -> Row:
    """Acknowledged messages of 200 bytes to another process, `window` under way at a time."""
    how = "one at a time" if window == 1 else f"{window} under way"
    figures = (
        Figure("per_s", "messages/s", 0, Goal(at_least=at_least_per_s)),
        P50,
        P99,
        Figure("cpu_us", "CPU us a message, both sides", 1),
        RSS,
    )
    words = ("direct", "ADDRESS", str(messages), str(window))
    name = "direct-one" if window == 1 else "direct-pipelined"
    return Row(name, f"direct, 200 bytes, acknowledged, {how}", words, figures, server=("serve",), amount=messages)


def chunks(count: int) -> Row:
    figures = (Figure("mb_per_s", "MB/s", 0), Figure("cpu_us", "CPU us a chunk, both sides", 0), RSS)
    words = ("chunks", "ADDRESS", str(count))
    return Row("chunks", "direct, 64 KiB one way", words, figures, server=("serve",), amount=count)


def gossip(nodes: int, messages: int, per_s: int, *, is_goal: bool = False) -> Row:
    figures = (
        Figure("delivered_percent", "delivered %", 2, Goal(at_least=100)),
        Figure("p50_ms", "p50 ms", 2, Goal(at_most=3) if is_goal else None),
        P99,
        Figure("cpu_ms", "CPU ms a delivery", 3, Goal(ratio_at_most=1.5) if is_goal else None),
        RSS,
    )
    words = ("gossip", str(nodes), str(messages), str(per_s))
    title = f"gossip, 200 bytes, {nodes} nodes, {messages} messages at {per_s}/s"
    return Row(f"gossip-{nodes}-{messages}-{per_s}", title, words, figures)


def gossip_of_members(nodes: int, messages: int, per_s: int) -> Row:
    """The same with members, beside the same floor: what looking each author up costs is the difference."""
    row = gossip(nodes, messages, per_s)
    words = ("gossip-members", *row.words[1:])
    title = row.title.replace("gossip", "gossip of members")
    return replace(row, name=f"members-{row.name}", title=title, words=words, beside_words=row.words)


def codec(count: int) -> Row:
    """Bodies and envelopes without a network."""
    what = ("encode", "decode", "seal", "open", "seal_batch", "open_batch")
    figures = tuple(Figure(f"{name}_per_s", f"{name.replace('_', ', ')}/s", 0) for name in what)
    return Row("codec", "body and envelope of a 200-byte message", ("codec", str(count)), figures)


def every_row(*, quick: bool, large: bool = False) -> list[Row]:
    """All rows, in the order of the table."""
    if quick:
        small = [gossip(2, 200, 400), gossip(4, 50, 50), gossip_of_members(4, 50, 50)]
        rows = [connect(3), direct(100, 1, 1_500), direct(2_000, WINDOW, 10_000), chunks(50), *small, codec(2_000)]
        more = [
            *discovery_rows.rows(quick=True),
            *durable_rows.rows(quick=True),
            *membership_rows.rows(quick=True),
            *peer_rows.rows(quick=True),
            *replica_rows.rows(quick=True, large=False),
        ]
        return [_without_goals(row) for row in [*rows, *more]]
    big = [gossip(*each, is_goal=each == (10, 2000, 200)) for each in GOSSIP]
    return [
        connect(50),
        direct(5_000, 1, 1_500),
        direct(50_000, WINDOW, 10_000),
        chunks(4_000),
        *big,
        gossip_of_members(10, 2000, 200),
        codec(50_000),
        *discovery_rows.rows(quick=False),
        *durable_rows.rows(quick=False),
        *membership_rows.rows(quick=False),
        *peer_rows.rows(quick=False),
        *replica_rows.rows(quick=False, large=large),
    ]


def _without_goals(row: Row) -> Row:
    """So few runs say nothing about speed: half of each is warming up."""
    return replace(row, figures=tuple(replace(figure, goal=None) for figure in row.figures))


def rows_named(beginnings: Sequence[str], *, quick: bool, large: bool = False) -> list[Row]:
    """The rows whose names begin with one of these words. Raises `LookupError`, naming what there is."""
    rows = every_row(quick=quick, large=large)
    words = tuple(word.strip() for word in beginnings)
    for word in words:
        if not any(row.name.startswith(word) for row in rows):
            raise LookupError(f"there is no row {word!r}: {', '.join(row.name for row in rows)}")
    return [row for row in rows if row.name.startswith(words)]
