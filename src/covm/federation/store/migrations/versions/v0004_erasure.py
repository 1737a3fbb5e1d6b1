"""Which record took another's body away, and bodies that have not come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("covm_records", sa.Column("target", sa.LargeBinary(), nullable=True))
    op.add_column("covm_records", sa.Column("erased_by", sa.LargeBinary(), nullable=True))
    erasing = sa.text("target IS NOT NULL")
    op.create_index("covm_records_target", "covm_records", ["target"], sqlite_where=erasing, postgresql_where=erasing)
    lacking = sa.text("body IS NULL AND erased_by IS NULL AND superseded = 0 AND op <> 1 AND state <> 2")
    op.create_index(
        "covm_records_lacking", "covm_records", ["type_id", "number"], sqlite_where=lacking, postgresql_where=lacking
    )
