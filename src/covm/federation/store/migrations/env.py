"""What Alembic runs: the revisions, on the connection and in the transaction that it is handed."""

from __future__ import annotations

from alembic import context

from covm.federation.store.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
