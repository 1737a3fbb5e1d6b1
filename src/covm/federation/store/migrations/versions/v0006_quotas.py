"""How much each log has: records, and bytes of headers and bodies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("records", "size_bytes"):
        op.add_column("covm_record_logs", sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.execute(
        "UPDATE covm_record_logs SET records = (SELECT count(*) FROM covm_records r WHERE r.log_id = "
        "covm_record_logs.id), size_bytes = (SELECT coalesce(sum(length(r.envelope) + coalesce(length(r.body), 0)), 0) "
        "FROM covm_records r WHERE r.log_id = covm_record_logs.id)"
    )
