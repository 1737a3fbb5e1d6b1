"""Durable types: how far each named handler is, and what is published inside transactions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only where the column says INTEGER."""


def upgrade() -> None:
    _feeds()
    _passed()
    _staged_records()
    op.add_column("covm_records", sa.Column("told", sa.BigInteger(), nullable=True))
    op.execute("UPDATE covm_records SET told = judged WHERE state = 1 AND op = 0")
    op.create_index("covm_records_told", "covm_records", ["type_id", "told"])


def _feeds() -> None:
    op.create_table(
        "covm_feeds",
        sa.Column("id", _Id, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_feeds")),
        sa.UniqueConstraint("type", "name", name=op.f("uq_covm_feeds_type_name")),
    )


def _passed() -> None:
    op.create_table(
        "covm_passed",
        sa.Column("feed_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("feed_id", "position", name=op.f("pk_covm_passed")),
        sqlite_with_rowid=False,
    )


def _staged_records() -> None:
    op.create_table(
        "covm_staged_records",
        sa.Column("id", _Id, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_staged_records")),
    )
