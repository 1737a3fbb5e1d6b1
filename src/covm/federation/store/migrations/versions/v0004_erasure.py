"""Which record took another's body away, bodies that have not come, and those that are kept for a time alone."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("covm_records", sa.Column("target", sa.LargeBinary(), nullable=True))
    op.add_column("covm_records", sa.Column("erased_by", sa.LargeBinary(), nullable=True))
    op.add_column("covm_records", sa.Column("replaced_ms", sa.BigInteger(), nullable=True))
    op.add_column("covm_records", sa.Column("replaced_at", sa.BigInteger(), nullable=True))
    erasing = sa.text("target IS NOT NULL")
    op.create_index(
        "covm_records_target",
        "covm_records",
        ["target", "state", "log_id", "branch", "number"],
        sqlite_where=erasing,
        postgresql_where=erasing,
    )
    ageing = sa.text("replaced_at IS NOT NULL")
    op.create_index(
        "covm_records_ageing", "covm_records", ["type_id", "replaced_at"], sqlite_where=ageing, postgresql_where=ageing
    )
    lacking = sa.text("body IS NULL AND erased_by IS NULL AND superseded = 0 AND op <> 1 AND state <> 2")
    op.create_index(
        "covm_records_lacking", "covm_records", ["type_id", "number"], sqlite_where=lacking, postgresql_where=lacking
    )
    op.create_table(
        "covm_record_agreements",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("type_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("judged", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "type_id", name=op.f("pk_covm_record_agreements")),
    )
    # When those that are there were replaced is not known: their time begins now.
    op.execute(
        sa.text(
            "UPDATE covm_records SET replaced_ms = :now, replaced_at = (SELECT coalesce(max(judged), 0) FROM "
            "covm_records) WHERE superseded = 1 AND body IS NOT NULL"
        ).bindparams(now=int(time.time() * 1000))
    )
