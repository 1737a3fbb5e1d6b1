"""What can go wrong with the home and its store."""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.errors.root import FederationError


class StoreError(FederationError):
    """The node's home or its store cannot be used."""


@dataclass(eq=False)
class HomeInUse(StoreError):
    """Another process runs a node on this home."""

    home: str

    def __str__(self) -> str:
        return f"another node already runs on {self.home}; stop it first, or give this one another home"


@dataclass(eq=False)
class StoreFull(StoreError):
    """There is no room left where the store is. What was not written is not acknowledged to anyone."""

    where: str
    why: str = "no space is left"

    def __str__(self) -> str:
        return (
            f"the store {self.where} cannot grow: {self.why}; make room, and the node goes on by itself "
            "(nothing that it acknowledged is lost)"
        )


@dataclass(eq=False)
class StoreUnavailable(StoreError):
    """The store cannot be read or written now: an I/O error, a read-only disk, a lost connection."""

    where: str
    why: str

    def __str__(self) -> str:
        return (
            f"the store {self.where} cannot be used: {self.why}; mend that: a node that runs goes on by itself, "
            "one that could not start is started again"
        )


@dataclass(eq=False)
class StoreCorrupt(StoreError):
    """The store is damaged. It is never replaced by an empty one."""

    where: str
    why: str

    def __str__(self) -> str:
        return (
            f"the store {self.where} is damaged: {self.why}; bring a backup back (`covm store restore FILE "
            "--replace`), or copy out what verifies (`covm store check --salvage FILE`)"
        )


@dataclass(eq=False)
class StoreTooNew(StoreError):
    """The store was written by a newer covm."""

    where: str
    found: str
    known: str

    def __str__(self) -> str:
        return (
            f"the store {self.where} has schema {self.found}, this covm knows {self.known}: install the newer covm "
            "again, or bring back a backup made before it"
        )
