"""The rows of durable delivery: both ends with a home on the same disk, both waiting for it before they speak.

Beside them stand NATS JetStream, which promises the same for one end, and the disk itself: one fsync, and what SQLite
commits in groups of the same size without anything around it.
"""

from __future__ import annotations

from benchmarks.row import LONG_TIMEOUT_S, Figure, Goal, Row

PAYLOAD_BYTES = 200

WINDOW = 256
"""Messages under way; the groups of SQLite alone are as large."""

P50, P99 = Figure("p50_ms", "p50 ms"), Figure("p99_ms", "p99 ms")
CPU = Figure("cpu_us", "CPU us a message, both sides", 1)
GROUPS = (
    Figure("sent_in_one", "messages a transaction, sender", 1),
    Figure("server_taken_in_one", "messages a transaction, receiver", 1),
)
RSS = (Figure("rss_mib", "RSS MiB, sender", 0), Figure("server_rss_mib", "RSS MiB, receiver", 0))

STORED_GOAL = Goal(at_least=10_000, ratio_at_least=2)
ONE_GOAL = Goal(ratio_at_most=4, plus=3.0)
"""Four fsyncs, and 3 ms of its own."""
START_GOAL = Goal(at_most=2.0)
MEMORY_GOAL = Goal(at_most=200 * 1e6 / 1024 / 1024)


def rows(*, quick: bool) -> list[Row]:
    """All of them, in the order of the table."""
    many, few, backlog, recovered = (2_000, 100, 3_000, 2_000) if quick else (50_000, 3_000, 1_000_000, 100_000)
    return [
        disk(few),
        sqlite(many),
        acknowledged(many),
        handled(many, "plain"),
        handled(many, "transactional"),
        one(few),
        one_beside_nats(few),
        queued(backlog),
        recovery(recovered),
    ]


def disk(count: int) -> Row:
    figures = (Figure("p50_ms", "p50 ms", 3), Figure("p99_ms", "p99 ms", 3))
    words = ("fsync", str(count))
    return Row("disk-fsync", "4 KiB appended, then fsync", (), figures, beside="disk", beside_words=words)


def sqlite(count: int) -> Row:
    words = ("sqlite", str(count), str(WINDOW), str(PAYLOAD_BYTES))
    figures = (Figure("per_s", "messages/s", 0),)
    title = f"SQLite alone: rows of 200 bytes, {WINDOW} in a transaction"
    return Row("disk-sqlite", title, (), figures, beside="disk", beside_words=words)


def acknowledged(count: int) -> Row:
    """`receipt.stored`: on the receiver's disk, and known to be there."""
    return Row(
        "durable-stored",
        f"durable, 200 bytes, acknowledged, {WINDOW} under way",
        ("durable", "ADDRESS", str(count), str(WINDOW), "stored"),
        (Figure("per_s", "messages/s", 0, STORED_GOAL), P50, P99, CPU, *GROUPS, *RSS),
        # A handler, since what nobody handles is refused after the first 10,000 and costs less.
        server=("serve-durable", "plain"),
        amount=count,
        beside="nats",
        beside_words=("publish", str(count), str(WINDOW), str(PAYLOAD_BYTES)),
    )


def handled(count: int, how: str) -> Row:
    """`receipt.handled`: a handler there is through with it, and the sender knows."""
    return Row(
        f"durable-{how}",
        f"durable, 200 bytes, handled by a {how} handler, {WINDOW} under way",
        ("durable", "ADDRESS", str(count), str(WINDOW), "handled"),
        (Figure("per_s", "messages/s", 0), P50, P99, CPU, *GROUPS, *RSS),
        server=("serve-durable", how),
        amount=count,
        beside="nats",
        beside_words=("consume", str(count), str(WINDOW), str(PAYLOAD_BYTES)),
    )


def one(count: int) -> Row:
    return Row(
        "durable-one",
        "durable, 200 bytes, acknowledged, one at a time, beside one fsync",
        ("durable", "ADDRESS", str(count), "1", "stored"),
        (Figure("p50_ms", "p50 ms", 2, ONE_GOAL), P99),
        server=("serve-durable", "none"),
        amount=count,
        beside="disk",
        beside_words=("fsync", str(count)),
    )


def one_beside_nats(count: int) -> Row:
    return Row(
        "durable-single",
        "durable, 200 bytes, acknowledged, one at a time",
        ("durable", "ADDRESS", str(count), "1", "stored"),
        (Figure("per_s", "messages/s", 0), P50, P99, CPU),
        # A handler, since what nobody handles is refused after the first 10,000 and costs less.
        server=("serve-durable", "plain"),
        amount=count,
        beside="nats",
        beside_words=("publish", str(count), "1", str(PAYLOAD_BYTES)),
    )


_BACKLOG = (
    Figure("queued_per_s", "queued/s, peer absent", 0),
    Figure("disk_mib", "store MiB, full", 0),
    Figure("started_s", "s from start() until started", 2, START_GOAL),
    Figure("from_nothing_s", "s with loading the program", 2),
    Figure("start_rss_mib", "RSS MiB, started", 0, MEMORY_GOAL),
    Figure("drained_per_s", "sent and stored/s", 0),
    Figure("drained_s", "s until the peer has all", 1),
    Figure("drain_rss_mib", "RSS MiB, most while sending", 0, MEMORY_GOAL),
)


def queued(count: int) -> Row:
    figures = (Figure("queue_rss_mib", "RSS MiB, after queueing", 0, MEMORY_GOAL), *_BACKLOG)
    title = f"{count:,} queued to an absent peer, restarted, sent"
    words = ("backlog", str(count), "stop")
    return Row("durable-backlog", title, words, figures, beside="none", timeout_s=LONG_TIMEOUT_S)


def recovery(count: int) -> Row:
    title = f"SIGKILL with {count:,} queued, restarted, sent"
    words = ("backlog", str(count), "kill")
    return Row("durable-recovery", title, words, _BACKLOG, beside="none", timeout_s=LONG_TIMEOUT_S)
