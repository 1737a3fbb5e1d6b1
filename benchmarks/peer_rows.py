"""The rows of keeping connections: until peers are connected again, and what strangers do to those who are."""

from __future__ import annotations

import itertools

from benchmarks.row import LONG_TIMEOUT_S, Figure, Goal, Row

P50 = Figure("p50_ms", "p50 ms", 0)
LONGEST = Figure("max_ms", "longest ms", 0)


def rows(*, quick: bool) -> list[Row]:
    """All of them, in the order of the table."""
    if quick:
        return [killed(2), restarted(1), strangers(4, 50, 50, 40)]
    punched = [punch(*each, 50) for each in itertools.product(("plain", "random"), ("tcp", "quic"))]
    return [killed(20), restarted(20), partitioned(60), *punched, strangers(10, 500, 50, 5_000)]


def killed(runs: int) -> Row:
    title = "a connection that had lasted is reset: until both sides are connected again"
    words = ("reconnect-killed", str(runs))
    return Row("reconnect-killed", title, words, (P50, LONGEST), beside="none", timeout_s=LONG_TIMEOUT_S)


def restarted(runs: int) -> Row:
    title = "a node that was long connected is killed and listens again: until its peer is connected"
    figures = (P50, Figure("max_ms", "longest ms", 0, Goal(at_most=1_000)))
    words = ("reconnect-restarted", str(runs))
    return Row("reconnect-restarted", title, words, figures, beside="none", timeout_s=LONG_TIMEOUT_S)


def partitioned(seconds: int) -> Row:
    title = f"a cable is cut for {seconds} s (namespaces, as root): from its repair until what waits is stored"
    words = ("reconnect-partitioned", str(seconds))
    return Row("reconnect-partitioned", title, words, (Figure("took_s", "s"),), beside="none")


def punch(translation: str, transport: str, runs: int) -> Row:
    goal = Goal(at_least=runs) if translation == "plain" else None
    figures = (
        Figure("punched", "punched", 0, goal),
        Figure("relayed", "stayed relayed", 0),
        Figure("p50_ms", "p50 ms from the dial by relay to direct", 0),
        LONGEST,
    )
    how = "keep a port for all destinations" if translation == "plain" else "draw a port for each destination"
    title = f"{runs} attempts over {transport.upper()} behind routers that {how} (namespaces, as root)"
    words = ("punch", translation, transport, str(runs))
    return Row(f"punch-{translation}-{transport}", title, words, figures, beside="none", timeout_s=LONG_TIMEOUT_S)


def strangers(nodes: int, messages: int, per_s: int, count: int) -> Row:
    figures = (
        Figure("connected", "strangers that connected", 0),
        Figure("delivered_percent", "delivered %", 2, Goal(at_least=100)),
        Figure("alone_p99_ms", "p99 ms without them"),
        Figure("p99_ms", "p99 ms beside them"),
        Figure("p99_times", "times as long", 2, Goal(at_most=2)),
    )
    title = f"{count:,} strangers connect, from one core, while {nodes} nodes gossip at {per_s}/s"
    words = ("strangers", str(nodes), str(messages), str(per_s), str(count))
    return Row("strangers", title, words, figures, beside="none", timeout_s=LONG_TIMEOUT_S)
