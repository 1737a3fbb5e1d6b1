"""The rows of membership. Each has its floor among its figures: the core's signatures alone, a table, one hop."""

from __future__ import annotations

from benchmarks.row import Figure, Row


def rows(*, quick: bool) -> list[Row]:
    """All of them, in the order of the table."""
    members, entries, checks, nodes = (20, 3, 2_000, 5) if quick else (1_000, 20, 300_000, 30)
    return [verified(members, entries), asked(checks, members), removed(nodes)]


def verified(members: int, entries: int) -> Row:
    figures = (
        Figure("items", "items", 0),
        Figure("signatures_s", "s, their signatures alone", 3),
        Figure("opened_s", "s until they are opened", 3),
        Figure("cold_s", "s until it is judged who is in", 3),
        Figure("load_s", "s from the store", 3),
        Figure("held_mib", "MiB that they take", 0),
    )
    title = f"a federation of {members:,} members with identity logs of {entries} entries"
    return Row("membership-verify", title, ("membership-verify", str(members), str(entries)), figures, beside="none")


def asked(checks: int, members: int) -> Row:
    figures = (
        Figure("members_may_per_s", "checks/s of a node", 0),
        Figure("standing_may_per_s", "checks/s of the rules", 0),
        Figure("lookup_per_s", "nodes/s found in a table", 0),
    )
    title = f"may a node publish this? among {members:,} members"
    return Row("membership-access", title, ("membership-access", str(checks), str(members)), figures, beside="none")


def removed(nodes: int) -> Row:
    figures = (
        Figure("p50_ms", "p50 ms", 1),
        Figure("max_ms", "ms until the last", 1),
        Figure("hop_ms", "ms that a hop takes", 1),
    )
    title = f"from a removal's last signature to its effect on {nodes} simulated nodes"
    return Row("membership-removal", title, ("membership-removal", str(nodes)), figures, beside="none")
