"""Who was here, over restarts: a peer that is away is called by its name, and one knows since when it is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from covm.daemon.acquaintances import MOST, Acquaintance

_TABLE = (
    "CREATE TABLE IF NOT EXISTS daemon_peers "
    "(peer TEXT PRIMARY KEY, name TEXT NOT NULL, came_at BIGINT NOT NULL, left_at BIGINT)"
)
"""`name` is JSON, so that whatever a peer calls itself is plain text to the database. No `left_at`: it is here."""

_CAME = (
    "INSERT INTO daemon_peers VALUES (:peer, :name, :now, NULL) "
    "ON CONFLICT (peer) DO UPDATE SET name = excluded.name, came_at = excluded.came_at, left_at = NULL"
)

_LEFT = "UPDATE daemon_peers SET left_at = :now, name = :name WHERE peer = :peer AND left_at IS NULL"

_ALL_LEFT = "UPDATE daemon_peers SET left_at = :now WHERE left_at IS NULL"

_TRIM = (
    "DELETE FROM daemon_peers WHERE peer IN "
    "(SELECT peer FROM daemon_peers ORDER BY came_at DESC LIMIT 1000 OFFSET :most)"
)


class GuestBook:
    """A table of the daemon's own. `transaction` as in `received.ReceivedMessages`."""

    def __init__(self, transaction: Callable[[Callable[[Any], Any]], Awaitable[Any]]) -> None:
        self._transaction = transaction

    async def open(self, now_ms: int) -> dict[str, Acquaintance]:
        """Makes the table, if it is not there; returns who was here by peer id, those who came first in front.

        After a crash nobody knows when those left that were here: what is certain is that they are away now.
        """

        def job(tx: Any) -> dict[str, Acquaintance]:
            tx.execute(_TABLE)
            tx.execute(_ALL_LEFT, {"now": now_ms})
            rows = tx.execute("SELECT peer, name, left_at FROM daemon_peers ORDER BY came_at").all()
            return {peer: Acquaintance(msgspec.json.decode(name, type=str), left_at) for peer, name, left_at in rows}

        guests: dict[str, Acquaintance] = await self._transaction(job)
        return guests

    async def came(self, peer: str, name: str, now_ms: int) -> None:
        """Notes a peer and its name; those that came longest ago give way."""

        def job(tx: Any) -> None:
            tx.execute(_CAME, {"peer": peer, "name": _as_json(name), "now": now_ms})
            tx.execute(_TRIM, {"most": MOST})

        await self._transaction(job)

    async def left(self, names: Mapping[str, str], now_ms: int) -> None:
        """Notes since when peers are away, and the names that they went by at the end: some say theirs late."""

        def job(tx: Any) -> None:
            for peer, name in names.items():
                tx.execute(_LEFT, {"peer": peer, "name": _as_json(name), "now": now_ms})

        await self._transaction(job)


def _as_json(name: str) -> str:
    return msgspec.json.encode(name).decode()
