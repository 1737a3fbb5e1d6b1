"""Whether a running node can keep what it must not lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from covm.federation.diagnosis.finding import Area, Finding, Verdict

if TYPE_CHECKING:
    from covm.federation.store.interface import StoreHealth

_NEXT = {
    "full": "make room on its disk, or raise the database's limit; the node goes on by itself",
    "failing": "look at the disk, or at the database server; then `covm store check` says whether anything was damaged",
}


def store(health: StoreHealth, where: str, *, is_durable: bool) -> Finding:
    """How the store of a running node is."""
    if health.state != "ok":
        return Finding(
            Area.STORE,
            Verdict.PROBLEM,
            f"the store {where} is {health.state}; nothing is acknowledged until that is mended",
            health.why,
            _NEXT.get(health.state, _NEXT["failing"]),
        )
    if not is_durable:
        return Finding(
            Area.STORE, Verdict.WARNING, "everything is in memory, and nothing outlives the process", "no home is set"
        )
    return Finding(Area.STORE, Verdict.OK, f"the store {where} takes what is written")
