"""The table of the address book."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Table, Text

from covm.federation.store.schema import metadata

addresses: Final = Table(
    "covm_peer_addresses",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("giver", Text, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("heard_ms", BigInteger, nullable=False),
    Column("tried_ms", BigInteger),
    Column("worked_ms", BigInteger),
    Column("error", Text, nullable=False),
    Column("met_ms", BigInteger),
)
"""One row for each address of each peer in the book. `source` is the name of a `Source` in small letters; `giver` and
`met_ms` are the peer's, the same in all its rows."""
