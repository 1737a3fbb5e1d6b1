"""The migrations make what the code expects, keep a copy of what was there, and either happen or do not."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from tests.store.places import Place, make_notes, note, numbers

from covm.federation.errors import StoreUnavailable
from covm.federation.store import migrations
from covm.federation.store.interface import Store
from covm.federation.store.postgresql import PostgresStore
from covm.federation.store.reading import reading
from covm.federation.store.schema import PREFIX, metadata
from covm.federation.store.sqlite import SqliteStore

ROOT = Path(migrations.__file__).parent
LATER = f"{int(migrations.REVISIONS[-1]) + 1:04}"
NEXT = f'''
"""A next step."""

import sqlalchemy as sa
from alembic import op

revision = "{LATER}"
down_revision = "{migrations.REVISIONS[-1]}"


def upgrade() -> None:
    op.add_column("covm_bans", sa.Column("colour", sa.Text(), nullable=False, server_default="red"))
    op.create_table("covm_new", sa.Column("id", sa.Integer(), primary_key=True))
'''

for component in ("store", "dispatch", "gossip", "blobs", "membership", "sync", "peers"):
    import_module(f"covm.federation.{component}.tables")

both = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


def later(place: Place, scripts: Path) -> Store:
    """The store as a later covm opens it."""
    if place.kind == "sqlite":
        return SqliteStore(place.home, revisions=(*migrations.REVISIONS, LATER), scripts=str(scripts))
    return PostgresStore(place.url, place.home, revisions=(*migrations.REVISIONS, LATER), scripts=str(scripts))


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The migrations with one more."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    for path in ROOT.glob("versions/v*.py"):
        (versions / path.name).write_text(path.read_text())
    (versions.parent / "env.py").write_text((ROOT / "env.py").read_text())
    (versions / f"v{LATER}_next.py").write_text(NEXT)
    return versions.parent


@both
async def test_the_migrated_schema_is_the_one_that_the_code_works_with(store: Store, place: Place) -> None:
    with reading(place.home, place.url) as engine:
        context = MigrationContext.configure(
            engine.connection, opts={"version_table": migrations.VERSION_TABLE, "compare_type": True}
        )
        ours = [each for each in compare_metadata(context, metadata) if "'note'" not in repr(each)]
        assert ours == []
        found = inspect(engine.connection)
        names = {name for name in found.get_table_names() if name.startswith(PREFIX)}
        assert names == {*metadata.tables, migrations.VERSION_TABLE}


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_sqlites_own_ways_are_the_same_in_both(store: Store, place: Place) -> None:
    """Whether a table has row numbers, and what its keys are, which Alembic does not compare."""
    from covm.federation.store.inline import InlineStore

    query = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name LIKE 'covm%' AND name <> 'covm_schema'"
    memory = InlineStore()
    await memory.open()
    expected = await memory.read(lambda tx: {row[0]: words(row[1]) for row in tx.execute(query)})
    assert await store.read(lambda tx: {row[0]: words(row[1]) for row in tx.execute(query)}) == expected
    await memory.close()


def words(statement: str) -> list[str]:
    return sorted(re.findall(r"[\w']+", statement))


def test_every_revision_is_named_in_order() -> None:
    directory = ScriptDirectory(str(ROOT))
    scripts = [script.revision for script in directory.walk_revisions()]
    assert tuple(reversed(scripts)) == migrations.REVISIONS


@both
async def test_a_copy_is_kept_before_a_store_is_changed(place: Place, scripts: Path) -> None:
    first = place.store()
    await first.open()
    await first.write(make_notes)
    await first.write(note(1))
    await first.close()
    store = later(place, scripts)
    await store.open()
    assert await store.read(lambda tx: tx.execute("SELECT count(colour) FROM covm_bans").scalar()) == 0
    assert await store.read(numbers) == [1]
    await store.close()
    if place.kind == "postgresql":
        assert (place.home / f"store.before-{LATER}.dump").stat().st_mode & 0o777 == 0o600
        return
    copy = place.home / f"store.db.before-{LATER}"
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.rename(place.home / "store.db")
    again = place.store()
    await again.open()
    assert await again.read(numbers) == [1]
    await again.close()


@both
async def test_a_migration_that_fails_changes_nothing(place: Place, scripts: Path) -> None:
    first = place.store()
    await first.open()
    await first.close()
    script = scripts / "versions" / f"v{LATER}_next.py"
    script.write_text(script.read_text() + '    op.execute("SELECT * FROM nowhere")\n')
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await later(place, scripts).open()
    again = place.store()
    await again.open()
    assert (
        await again.read(lambda tx: tx.execute("SELECT version_num FROM covm_schema").scalar())
        == migrations.REVISIONS[-1]
    )
    await again.close()
