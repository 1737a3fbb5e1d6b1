"""The tables of files and large publications. Times are milliseconds since 1970-01-01 UTC.

covm_files_out    files that this node offered       covm_files_in    files that others offered to it
covm_file_nodes   the inner nodes of their trees     covm_contents    payloads of large publications, for a while
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text

from covm.federation.store.schema import metadata

RUNNING: Final = 0
DONE: Final = 1
FAILED: Final = 2

files_out: Final = Table(
    "covm_files_out",
    metadata,
    Column("mid", LargeBinary, primary_key=True),
    Column("peer", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("covm_files_out_state", "state", "ended_at"),
)
"""`mid` is the id of the message that offers the file. It is read from `path` as long as it is what it was: `size`,
`inode` and `modified_ns` tell."""

file_nodes: Final = Table(
    "covm_file_nodes",
    metadata,
    Column("mid", LargeBinary, primary_key=True),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)
"""The inner nodes of an offered file's tree: a six-thousandth of its size."""

files_in: Final = Table(
    "covm_files_in",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("mid", LargeBinary, primary_key=True),
    Column("name", Text, nullable=False),
    Column("path", LargeBinary),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("done_bytes", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("touched_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("covm_files_in_state", "state", "ended_at"),
)
"""The first `done_bytes` of a running one are verified and on the disk; `touched_at` is when it last grew."""

contents: Final = Table(
    "covm_contents",
    metadata,
    Column("root", LargeBinary, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("kept_until", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("covm_contents_kept_until", "kept_until"),
)
"""Encoded payloads that were announced by their id, served on for an hour."""
