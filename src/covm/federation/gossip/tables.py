"""The tables of gossip: what came already, and which numbers of our own may be in use."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text

from covm.federation.store.schema import metadata

windows: Final = Table(
    "covm_gossip_windows",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("author", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("highest", BigInteger, nullable=False),
    Column("bits", LargeBinary, nullable=False),
    Column("heard_at", BigInteger, nullable=False),
)
"""One replay window for each author of a topic. `bits` is packed by `journal.packed`; `number` and `nonce` are the
author's incarnation. `heard_at` orders the authors, so that the longest silent is forgotten first after a restart too.
"""

numbers: Final = Table(
    "covm_gossip_numbers",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("reserved", BigInteger, nullable=False),
)
"""Our own sequence on each topic: numbers of this incarnation up to `reserved` may have been used."""
