"""Reads everything in a store and says what is wrong with it; changes nothing, and may run beside the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from covm.federation.errors import StoreError
from covm.federation.store.dump import our_tables
from covm.federation.store.migrations import REVISIONS
from covm.federation.store.reading import reading, require_revision
from covm.federation.store.verify import wrong_rows

if TYPE_CHECKING:
    from sqlalchemy import Table

    from covm.federation.store.engine import SqlEngine

MAX_PROBLEMS: Final = 100
"""Problems told one by one; of more, the number."""

ROWS_AT_ONCE: Final = 256


@dataclass
class Report:
    """What a check found. Nothing is wrong when `problems` is empty."""

    where: str
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Rows of each table."""
    more: int = 0
    """Problems beyond those that are told."""

    def note(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        else:
            self.more += 1


def check(home: Path, url: str = "") -> Report:
    """The state of the home's store, or of the one behind the URL.

    Blocks while it reads all of it. What cannot even be opened is a problem in the report too; raises
    `StoreUnavailable` where there is no store.
    """
    report = Report(url or str(home))
    try:
        with reading(home, url) as engine:
            report.where = engine.where
            _check_engine(engine, report)
            revision = require_revision(engine, home)
            if revision != REVISIONS[-1]:
                report.note(f"the schema is {revision}, this covm's is {REVISIONS[-1]}: the next start brings it there")
            for table in our_tables(engine.connection):
                _check_table(engine, table, report)
    except StoreError as error:
        if not report.counts and type(error).__name__ == "StoreUnavailable":
            raise
        report.note(str(error))
    return report


def _check_engine(engine: SqlEngine, report: Report) -> None:
    if engine.dialect != "sqlite":
        return
    for (found,) in engine.connection.exec_driver_sql(f"PRAGMA integrity_check({MAX_PROBLEMS})"):
        if found != "ok":
            report.note(f"SQLite says: {found}")
    for row in engine.connection.exec_driver_sql("PRAGMA foreign_key_check"):
        report.note(f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there")


def _check_table(engine: SqlEngine, table: Table, report: Report) -> None:
    columns = [column.name for column in table.columns]
    report.counts[table.name] = 0
    try:
        options = {"yield_per": ROWS_AT_ONCE}
        with engine.connection.execute(select(table), execution_options=options) as result:
            for rows in result.partitions():
                report.counts[table.name] += len(rows)
                for index, why in wrong_rows(table.name, columns, rows).items():
                    report.note(f"{table.name}, {_key(table, rows[index])}: {why}")
    except SQLAlchemyError as error:
        report.note(f"{table.name} cannot be read after {report.counts[table.name]:,} rows: {error.args[0]:.200}")


def _key(table: Table, row: Sequence[Any]) -> str:
    """The primary key of a row, as people read it."""
    values = dict(zip((column.name for column in table.columns), row, strict=True))
    return ", ".join(f"{column.name} {_shown(values[column.name])}" for column in table.primary_key)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
