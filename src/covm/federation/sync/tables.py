"""The tables of records. Times are milliseconds since 1970-01-01 UTC; ids of records and logs are binary CIDs.

covm_record_types   a small number for each type      covm_record_logs      one for each (type, author, incarnation)
covm_records        every record that has its place   covm_record_branches  the logs' branches, mostly one
covm_conflicts      keys with several heads               covm_record_agreements  up to where peers hold the same
covm_sync_cursors   how far applications' own stores are      covm_sync_failures  what they did not take
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from covm.federation.store.schema import RowId, metadata
from covm.federation.store.tables import get_meta, put_meta

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

HELD: Final = 0
"""It has its place, and waits to be judged."""
VALID: Final = 1
VOID: Final = 2

PUT: Final = 0
DELETE: Final = 1
ERASE: Final = 2

types: Final = Table(
    "covm_record_types",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

logs: Final = Table(
    "covm_record_logs",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("log", LargeBinary, nullable=False, unique=True),
    Column("type_id", BigInteger, nullable=False),
    Column("author", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("basis", LargeBinary, nullable=False),
    Column("records", BigInteger, nullable=False, server_default=text("0")),
    Column("size_bytes", BigInteger, nullable=False, server_default=text("0")),
)
"""`number` and `nonce` are the author's incarnation; `basis` is what its records were judged on, beside themselves.
`records` and `size_bytes` count its records, and the bytes of their envelopes and bodies, in the transactions that
store and drop them.
"""

branches: Final = Table(
    "covm_record_branches",
    metadata,
    Column("log_id", BigInteger, primary_key=True, autoincrement=False),
    Column("branch", Integer, primary_key=True, autoincrement=False),
    Column("parent", Integer),
    Column("begins", BigInteger, nullable=False),
    Column("tip_seq", BigInteger, nullable=False),
    Column("tip", LargeBinary, nullable=False),
    Column("tip_time_ms", BigInteger, nullable=False),
    Column("tip_counter", BigInteger, nullable=False),
    Column("tip_identity_seq", BigInteger),
    Column("credential", LargeBinary),
    Column("identity", LargeBinary),
)
"""See `identity.branches`. `tip_...` is what the next record on it has to follow; `tip_identity_seq` is null while the
tip is not judged. `credential` and `identity` are what the log began under, on a branch with its first record."""

_LACKING: Final = text("body IS NULL AND erased_by IS NULL AND superseded = 0 AND op <> 1 AND state <> 2")
"""As `body_rows.LACKING`, which says just this, for the index to be of use."""

_ERASING: Final = text("target IS NOT NULL")
_AGEING: Final = text("replaced_at IS NOT NULL")

records: Final = Table(
    "covm_records",
    metadata,
    Column("number", RowId, primary_key=True),
    Column("id", LargeBinary, nullable=False),
    Column("log_id", BigInteger, nullable=False),
    Column("branch", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type_id", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("op", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("superseded", SmallInteger, nullable=False),
    Column("closers", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("identity_seq", BigInteger),
    Column("judged", BigInteger),
    Column("told", BigInteger),
    Column("parents", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("body", LargeBinary),
    Column("target", LargeBinary),
    Column("erased_by", LargeBinary),
    Column("replaced_ms", BigInteger),
    Column("replaced_at", BigInteger),
    Index("covm_records_id", "id", unique=True),
    Index("covm_records_place", "log_id", "seq"),
    Index("covm_records_key", "type_id", "key"),
    Index("covm_records_judged", "judged"),
    Index("covm_records_told", "type_id", "told"),
    Index(
        "covm_records_target",
        "target",
        "state",
        "log_id",
        "branch",
        "number",
        sqlite_where=_ERASING,
        postgresql_where=_ERASING,
    ),
    Index("covm_records_ageing", "type_id", "replaced_at", sqlite_where=_AGEING, postgresql_where=_AGEING),
    Index("covm_records_lacking", "type_id", "number", sqlite_where=_LACKING, postgresql_where=_LACKING),
)
"""Headers stay, bodies may go. `number` counts arrivals, `judged` judgements: who follows changes goes on behind the
last that it saw. It is null for what is held, and new where another judgement has taken the place of an earlier one.
`told` is the number of the judgement by which a put counted first, and stays: its place among what handlers are given.

`parents` are their binary CIDs, one behind the other. `superseded`: whether a record that counts reaches it. `closers`:
where in its own log records name it as a parent, of each branch the first, as `branch:seq` separated by blanks; empty
while none does, and `-` for what never was open (see `judging.is_one_too_many`).

`target` is what an erase names, `erased_by` the erase that took this record's body away, the first by its clock.
`replaced_ms` and `replaced_at` say since when a put is superseded, by this node's clock and by the number of the last
judgement then, until it is not kept any longer. While the body is not here, and may come, `replaced_at` is negative: so
its index finds these too.
"""

agreements: Final = Table(
    "covm_record_agreements",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("type_id", BigInteger, primary_key=True, autoincrement=False),
    Column("judged", BigInteger, nullable=False),
)
"""The last judgement here when a peer held the same as this node: it has all that had come by then."""

conflicts: Final = Table(
    "covm_conflicts",
    metadata,
    Column("type_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("since_ms", BigInteger, nullable=False),
)
"""Keys that have several heads."""

cursors: Final = Table(
    "covm_sync_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("judged", BigInteger, nullable=False),
)
"""Up to which judgement the store of a sync type has what there is of a type."""

failures: Final = Table(
    "covm_sync_failures",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("since_ms", BigInteger, nullable=False),
    Column("tried_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
)
"""Keys that the store of a sync type did not take; they are handed over again."""

_LAST_JUDGEMENT: Final = "last_judgement"
"""The number of the last judgement, as text: no number is given twice, also where what had it is judged anew."""


def last_judgement(tx: Transaction) -> int:
    """The number of the last judgement; 0 before the first."""
    return int(get_meta(tx, _LAST_JUDGEMENT) or b"0")


def save_last_judgement(tx: Transaction, number: int) -> None:
    """Keeps it, in the transaction that writes what has it."""
    put_meta(tx, _LAST_JUDGEMENT, str(number).encode())


__all__ = [
    "DELETE",
    "ERASE",
    "HELD",
    "PUT",
    "VALID",
    "VOID",
    "agreements",
    "branches",
    "conflicts",
    "cursors",
    "failures",
    "last_judgement",
    "logs",
    "records",
    "save_last_judgement",
    "types",
]
