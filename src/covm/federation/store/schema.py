"""The one `metadata` on which every component registers its tables, each in a `tables.py` of its own.

Names begin with `covm_`, so that an application's own tables can lie in the same database. Times are milliseconds
since 1970-01-01 UTC in `BigInteger`; binary values are `LargeBinary`.

Who adds or changes a table writes a migration for it (see migrations/): a store on disk is never made from
`metadata`; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData

PREFIX: Final = "covm_"

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

RowId: Final = BigInteger().with_variant(Integer(), "sqlite")
"""The type of an `id` that the engine counts up: on SQLite only an INTEGER primary key is the row's number."""
