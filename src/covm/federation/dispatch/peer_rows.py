"""A small number for each peer id, which has 52 characters and stands in many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction


def known_peer_row(tx: Transaction, peer: str) -> int | None:
    """The peer's number, if it has one."""
    found = tx.execute("SELECT id FROM covm_peers WHERE peer = :peer", {"peer": peer}).scalar()
    return None if found is None else int(found)


def peer_row(tx: Transaction, peer: str) -> int:
    """The peer's number; it gets one if it has none."""
    if (known := known_peer_row(tx, peer)) is not None:
        return known
    return int(tx.execute("INSERT INTO covm_peers (peer) VALUES (:peer) RETURNING id", {"peer": peer}).scalar_one())
