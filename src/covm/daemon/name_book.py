"""The names of peers over restarts: who is away can be called by its name all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from covm.daemon.acquaintances import MOST

_TABLE = "CREATE TABLE IF NOT EXISTS daemon_peers (peer TEXT PRIMARY KEY, name TEXT NOT NULL, seen_at BIGINT NOT NULL)"
"""`name` is JSON, so that whatever a peer calls itself is plain text to the database."""

_NOTE = (
    "INSERT INTO daemon_peers VALUES (:peer, :name, :seen_at) "
    "ON CONFLICT (peer) DO UPDATE SET name = excluded.name, seen_at = excluded.seen_at"
)

_TRIM = (
    "DELETE FROM daemon_peers WHERE peer IN "
    "(SELECT peer FROM daemon_peers ORDER BY seen_at DESC LIMIT 1000 OFFSET :most)"
)


class NameBook:
    """A table of the daemon's own. `transaction` as in `received.ReceivedMessages`."""

    def __init__(self, transaction: Callable[[Callable[[Any], Any]], Awaitable[Any]]) -> None:
        self._transaction = transaction

    async def open(self) -> dict[str, str]:
        """Makes the table, if it is not there; returns the names by peer id, those seen first in front."""

        def job(tx: Any) -> dict[str, str]:
            tx.execute(_TABLE)
            rows = tx.execute("SELECT peer, name FROM daemon_peers ORDER BY seen_at").all()
            return {peer: msgspec.json.decode(name, type=str) for peer, name in rows}

        names: dict[str, str] = await self._transaction(job)
        return names

    async def note(self, peer: str, name: str, now_ms: int) -> None:
        """Notes a name; the longest unseen give way."""

        def job(tx: Any) -> None:
            tx.execute(_NOTE, {"peer": peer, "name": msgspec.json.encode(name).decode(), "seen_at": now_ms})
            tx.execute(_TRIM, {"most": MOST})

        await self._transaction(job)
