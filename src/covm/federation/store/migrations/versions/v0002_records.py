"""Records: their types, logs, branches, and the keys in conflict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only where the column says INTEGER."""


def upgrade() -> None:
    _conflicts()
    _record_branches()
    _record_logs()
    _record_types()
    _records()


def _conflicts() -> None:
    op.create_table(
        "covm_conflicts",
        sa.Column("type_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("type_id", "key", name=op.f("pk_covm_conflicts")),
    )


def _record_branches() -> None:
    op.create_table(
        "covm_record_branches",
        sa.Column("log_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("branch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("tip_seq", sa.BigInteger(), nullable=False),
        sa.Column("tip", sa.LargeBinary(), nullable=False),
        sa.Column("tip_time_ms", sa.BigInteger(), nullable=False),
        sa.Column("tip_counter", sa.BigInteger(), nullable=False),
        sa.Column("tip_identity_seq", sa.BigInteger(), nullable=True),
        sa.Column("credential", sa.LargeBinary(), nullable=True),
        sa.Column("identity", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("log_id", "branch", name=op.f("pk_covm_record_branches")),
    )


def _record_logs() -> None:
    op.create_table(
        "covm_record_logs",
        sa.Column("id", _Id, nullable=False),
        sa.Column("log", sa.LargeBinary(), nullable=False),
        sa.Column("type_id", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("basis", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_record_logs")),
        sa.UniqueConstraint("log", name=op.f("uq_covm_record_logs_log")),
    )


def _record_types() -> None:
    op.create_table(
        "covm_record_types",
        sa.Column("id", _Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_record_types")),
        sa.UniqueConstraint("name", name=op.f("uq_covm_record_types_name")),
    )


def _records() -> None:
    op.create_table(
        "covm_records",
        sa.Column("number", _Id, nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("log_id", sa.BigInteger(), nullable=False),
        sa.Column("branch", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("op", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("superseded", sa.SmallInteger(), nullable=False),
        sa.Column("closers", sa.Text(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("identity_seq", sa.BigInteger(), nullable=True),
        sa.Column("judged", sa.BigInteger(), nullable=True),
        sa.Column("parents", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_covm_records")),
    )
    op.create_index("covm_records_id", "covm_records", ["id"], unique=True)
    op.create_index("covm_records_place", "covm_records", ["log_id", "seq"])
    op.create_index("covm_records_key", "covm_records", ["type_id", "key"])
    op.create_index("covm_records_judged", "covm_records", ["judged"])
    lacking = sa.text("body IS NULL AND op = 0")
    op.create_index("covm_records_lacking", "covm_records", ["judged"], sqlite_where=lacking, postgresql_where=lacking)
