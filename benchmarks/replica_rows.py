"""The rows of shared data: two nodes in two processes, with homes on the same disk. Bytes are those beyond the records.

Beside what is missing stands negentropy, on sets of the same shape: it finds the same by ranges of time, and its bytes
are those of finding alone.
"""

from __future__ import annotations

from benchmarks.row import LONG_TIMEOUT_S, Figure, Goal, Row
from benchmarks.service.shape import How, Shape, Sides

COUNTS = (10_000, 100_000)
LARGE = 1_000_000
"""Only where it is asked for: the stores alone take minutes."""

LACKING = (1, 100, 1_000, 10_000)

MANY = 1_000
"""Authors."""

FLAT_MIB = 32.0
"""What memory may grow by while a thousand records come or a million: a few batches."""


def rows(*, quick: bool, large: bool) -> list[Row]:
    """All of them, in the order of the table."""
    if quick:
        shapes = [Shape(500, 1, 50), Shape(500, 50, 10, "scattered", "both")]
        return [written(512, 64), heard(10), first(500, 1), *map(missing, shapes), healed(4, 200)]
    counts = (*COUNTS, LARGE) if large else COUNTS
    return [
        written(20_000, 256),
        heard(200),
        *(first(count, authors) for count in counts for authors in (1, MANY)),
        *(missing(shape) for count in counts for shape in shapes_of(count)),
        healed(20, 10_000),
    ]


def shapes_of(count: int) -> list[Shape]:
    """What may be missing of so many records. One author has one end to go on at, so nothing is scattered or forked."""
    alone = [Shape(count, 1), *(Shape(count, 1, lacking) for lacking in LACKING)]
    many = [Shape(count, MANY), Shape(count, MANY, 1), Shape(count, MANY, 1, "consecutive", "both")]
    ways: list[tuple[How, Sides]] = [
        ("consecutive", "one"), ("consecutive", "both"), ("scattered", "one"), ("scattered", "both"),
    ]  # fmt: skip
    return [*alone, *many, *(Shape(count, MANY, lacking, *way) for lacking in LACKING[1:] for way in ways)]


def written(count: int, window: int) -> Row:
    figures = (Figure("per_s", "writes/s", 0, Goal(at_least=5_000)), Figure("cpu_us", "CPU us a write", 1))
    title = f"writes of 100 bytes, {window} at a time"
    words = ("sync-written", str(count), str(window))
    return Row("sync-written", title, words, figures, amount=count, beside="none")


def heard(count: int) -> Row:
    figures = (
        Figure("server_p50_ms", "p50 ms until the other's program has it", 2, Goal(at_most=20)),
        Figure("server_p99_ms", "p99 ms", 2),
        Figure("put_p50_ms", "p50 ms until the writer has it on disk", 2),
    )
    title = "a write on an idle node"
    words = ("sync-told", "ADDRESS", str(count))
    return Row("sync-heard", title, words, figures, server=("serve-sync",), amount=count, beside="none")


def first(count: int, authors: int) -> Row:
    figures = (
        Figure("per_s", "records/s", 0, Goal(at_least=10_000)),
        Figure("took_s", "s", 1),
        Figure("cpu_us", "CPU us a record, both sides", 1),
        Figure("rss_began_mib", "RSS MiB, at the beginning", 0),
        Figure("rss_tenth_mib", "RSS MiB, with a tenth of the records", 0),
        Figure("rss_mib", "RSS MiB, with all", 0),
        Figure("grown_mib", "MiB more with all than with a tenth", 0, Goal(at_most=FLAT_MIB)),
        Figure("server_rss_mib", "RSS MiB of who gives them, most", 0),
    )
    title = f"a first sync of {count:,} records of {_authors(authors)}"
    words = ("sync-first", str(count), str(authors))
    name = f"sync-first-{count}-{authors}"
    return Row(name, title, words, figures, amount=count, beside="none", timeout_s=LONG_TIMEOUT_S)


def missing(shape: Shape) -> Row:
    figures = (
        Figure("questions", "round trips behind HELLO", 0),
        Figure("overhead_bytes", "bytes", 0),
        Figure("asked_bytes", "bytes of one who lacks something", 0, _goal(shape)),
        Figure("took_ms", "ms, connecting and all", 1),
        *((Figure("per_s", "records/s", 0),) if shape.missing >= 1_000 else ()),
        Figure("rss_mib", "RSS MiB, most", 0),
    )
    name = f"sync-missing-{shape.records}-{shape.authors}-{shape.lacking}"
    where = ""
    if shape.lacking:
        where = " on each side" if shape.sides == "both" else ""
        name += "-both" if shape.sides == "both" else ""
    if shape.lacking > 1 and shape.authors > 1:
        where += ", scattered" if shape.how == "scattered" else ", consecutive"
        name += f"-{shape.how}"
    title = f"{shape.lacking:,} missing{where}, of {shape.records:,} of {_authors(shape.authors)}"
    words = ("sync-missing", *shape.words)
    return Row(name, title, words, figures, beside="negentropy", timeout_s=LONG_TIMEOUT_S)


def _goal(shape: Shape) -> Goal | None:
    if not shape.lacking:
        return Goal(at_most=300)
    if shape.authors == 1:
        return Goal(at_most=500)
    most = {1: 1_500, 1_000: 200_000}.get(shape.lacking)
    return Goal(at_most=most) if most is not None and shape.sides == "one" else None


def healed(nodes: int, count: int) -> Row:
    figures = (
        Figure("took_s", "s until all have all", 1, Goal(at_most=30)),
        Figure("cpu_us", "CPU us a record and node", 1),
        Figure("rss_mib", "RSS MiB of one half", 0),
    )
    title = f"{nodes} nodes, {count:,} records, half of them unknown to each half, after a partition's end"
    words = ("sync-healed", str(nodes), str(count))
    amount = nodes / 2 * count
    return Row("sync-healed", title, words, figures, amount=amount, beside="none", timeout_s=LONG_TIMEOUT_S)


def _authors(count: int) -> str:
    return "one author" if count == 1 else f"{count:,} authors"
