"""A node's life, as its store has it: whose it is, and the incarnation under which the node speaks.

An incarnation lasts over restarts, since the store remembers every number that was used in it. A new one begins with
the first start, after a restore (the backup does not know what was said since), and when a peer proves that the store
went back in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from covm.federation.clock import Clock, Random
from covm.federation.errors import StoreCorrupt, StoreError
from covm.federation.peers.bans import Ban
from covm.federation.store.interface import Store, Transaction
from covm.federation.store.tables import (
    INCARNATION,
    NEW_INCARNATION,
    PEER_ID,
    BanRow,
    delete_meta,
    get_meta,
    load_bans,
    put_meta,
    replace_bans,
)
from covm.federation.wire.incarnation import Incarnation, next_incarnation
from covm.federation.wire.limits import NONCE_SIZE

NUMBER_SIZE: Final = 8

MOST_KNOWN: Final = 100_000
"""Peers remembered from earlier starts, some ten megabytes: far more than one node ever deals with."""


async def begin(store: Store, peer_id: str, clock: Clock, random: Random) -> Incarnation:
    """The incarnation to speak under, on disk when this returns.

    Raises `StoreError` when the store is another node's, and what `Store.write` raises.
    """

    def job(tx: Transaction) -> Incarnation:
        held = _held(tx)
        if held is not None and get_meta(tx, NEW_INCARNATION) is None:
            return held
        fresh = next_incarnation(clock.now_ms(), -1 if held is None else held.number, random)
        save_incarnation(tx, fresh)
        return fresh

    owner = await store.write(lambda tx: _claim(tx, peer_id))
    if owner != peer_id:
        raise StoreError(
            f"the store is that of node {owner}, and this is {peer_id}: "
            "give this node a home (or schema) of its own, or bring back the key that belongs to the store"
        )
    return await store.write(job)


def save_incarnation(tx: Transaction, incarnation: Incarnation) -> None:
    """Makes it the incarnation that the next start goes on with."""
    put_meta(tx, INCARNATION, incarnation.number.to_bytes(NUMBER_SIZE, "big") + incarnation.nonce)
    delete_meta(tx, NEW_INCARNATION)


async def known_peers(store: Store) -> set[str]:
    """Everyone with whom a message was exchanged in earlier starts, at most `MOST_KNOWN`."""

    def query(tx: Transaction) -> set[str]:
        rows = tx.execute("SELECT peer FROM covm_peers ORDER BY id DESC LIMIT :most", {"most": MOST_KNOWN})
        return set(rows.scalars())

    return await store.read(query)


async def stored_bans(store: Store) -> list[Ban]:
    """The bans of earlier starts."""

    def query(tx: Transaction) -> list[Ban]:
        return [Ban(*row) for row in load_bans(tx)]

    return await store.read(query)


async def save_bans(store: Store, bans: Sequence[Ban]) -> None:
    """Makes these the bans; on disk when this returns."""
    rows = [BanRow(ban.peer, ban.reason, ban.since_ms, ban.until_ms) for ban in bans]
    await store.write(lambda tx: replace_bans(tx, rows))


def _claim(tx: Transaction, peer_id: str) -> str:
    """Whose store it is: the first node that opens it keeps it."""
    owner = get_meta(tx, PEER_ID)
    if owner is None:
        put_meta(tx, PEER_ID, peer_id.encode())
        return peer_id
    return owner.decode(errors="replace")


def _held(tx: Transaction) -> Incarnation | None:
    value = get_meta(tx, INCARNATION)
    if value is None:
        return None
    if len(value) != NUMBER_SIZE + NONCE_SIZE:
        raise StoreCorrupt("of this node", "the incarnation in it is none")
    return Incarnation(int.from_bytes(value[:NUMBER_SIZE], "big"), value[NUMBER_SIZE:])
