"""`python -m benchmarks`: measures the rows that are wanted and prints them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.places import BUILD
from tools.progress import CommandFailed

from benchmarks import beside, machine, profiling, report
from benchmarks.measuring import Measured, measure
from benchmarks.row import Beside, Row
from benchmarks.rows import rows_named
from benchmarks.subject import Subject, SubjectFailed


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Figures, beside other ways to do the same."
    )
    parser.add_argument("--quick", action="store_true", help="small counts: to see that it works, not how fast")
    parser.add_argument("--large", action="store_true", help="rows of a million records too, for half an hour")
    parser.add_argument("--rows", default="", metavar="A,B", help="only rows whose names begin so, as gossip,direct")
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="measure each row N times; medians are shown"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--markdown", action="store_true", help="print what docs/measurements.md holds")
    parser.add_argument("--profile", metavar="ROW", help="where one row's time goes in Python, instead of figures")
    parser.add_argument(
        "--loop", choices=["auto", "asyncio"], default="auto", help="auto: uvloop where it is installed"
    )
    parser.add_argument("--floor", type=Path, metavar="PROGRAM", help="a floor that is built already")
    parser.add_argument(
        "--disk", type=Path, metavar="FOLDER", default=BUILD, help="where homes and files of durable rows are made"
    )
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error("--repeat takes 1 or more")
    return options


def service(options: argparse.Namespace, *more: str, stores: str = "") -> Subject:
    """The service as a subject: its own interpreter for each process, so memory and processor time are its own.

    `stores` is a folder for what several rows begin with.
    """
    command = (sys.executable, "-m", "benchmarks.service", "--loop", options.loop, *more)
    return Subject("service", command, beside.python_environment(options.disk) | {"BENCHMARK_STORES": stores})


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        wanted = rows_named((options.profile or options.rows).split(","), quick=options.quick, large=options.large)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    if options.profile:
        return profiling.show(wanted[0], lambda *more: service(options, *more))
    options.disk.mkdir(parents=True, exist_ok=True)
    try:
        others = {
            name: beside.find(name, options.disk.resolve(), options.loop, options.floor)
            for name in dict.fromkeys(row.beside for row in wanted)
        }
    except CommandFailed as failure:
        print(f"{failure.output}\n{failure}; what it said stands above.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="stores-", dir=options.disk) as stores:
        return measured(options, wanted, service(options, stores=stores), others)


def measured(
    options: argparse.Namespace, wanted: Sequence[Row], subject: Subject, others: Mapping[Beside, beside.Found]
) -> int:
    """Measures the rows, prints each when it is there, and fails if one could not be measured."""
    about = machine.describe(options.loop)
    if not options.markdown:
        print(report.heading(about), flush=True)
    results: list[Measured] = []
    for row in wanted:
        print(f"  measuring {row.name} ...", file=sys.stderr, flush=True)
        try:
            results.append(measure(row, subject, others[row.beside], options.repeat))
        except SubjectFailed as failure:
            results.append(Measured(row, error=str(failure)))
        if not options.markdown:
            print(report.lines(results[-1]), flush=True)
    if options.markdown:
        print(report.markdown(about, results))
    if options.json:
        options.json.write_text(json.dumps(report.plain(about, results), indent=2) + "\n")
    return int(any(result.error for result in results))


if __name__ == "__main__":
    sys.exit(main())
