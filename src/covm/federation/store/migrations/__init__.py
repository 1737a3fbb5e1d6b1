"""The schema, step by step: each revision in `versions/` brings a store from the one before it.

Stores on disk are made and changed only here, never from `metadata`; a test compares the two. The revision is noted in
the table `covm_schema`. Alembic is loaded only when there is something to do: most starts find the newest revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text

from covm.federation.errors import StoreCorrupt, StoreTooNew
from covm.federation.store.schema import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
"""Every revision, the oldest first; a test compares it with the scripts."""

VERSION_TABLE: Final = "covm_schema"
SCRIPTS: Final = "covm.federation.store:migrations"
"""Where Alembic finds env.py and versions/."""


def revision_of(connection: Connection, where: str, revisions: Sequence[str] = REVISIONS) -> str | None:
    """The store's revision; None for an empty database. An application's own tables do not count.

    Raises `StoreTooNew`, and `StoreCorrupt` where there are tables of ours and no revision.
    """
    names = [name for name in inspect(connection).get_table_names() if name.startswith(PREFIX)]
    found: list[str] = []
    if VERSION_TABLE in names:
        found = [row[0] for row in connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))]  # noqa: S608
    if not names:
        return None
    if len(found) != 1:
        raise StoreCorrupt(where, f"it has the tables {', '.join(sorted(names)[:5])} but no revision of the schema")
    if found[0] not in revisions:
        raise StoreTooNew(where, found[0], revisions[-1])
    return found[0]


def upgrade(connection: Connection, target: str = "head", scripts: str = SCRIPTS) -> None:
    """Brings the schema up to date, in the transaction that the caller has begun and will commit."""
    from alembic import command
    from alembic.config import Config

    if not connection.in_transaction():
        connection.begin()
    config = Config()
    config.set_main_option("script_location", scripts)
    config.attributes["connection"] = connection
    command.upgrade(config, target)
