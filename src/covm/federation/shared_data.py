"""`SharedData`: the part of `FederationService` that is about shared data. It forwards and holds no rule."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from covm.federation.node import Node
    from covm.federation.sync.collection import Collection
    from covm.federation.sync.exporting import Exported, Imported
    from covm.federation.sync.forks import Fork
    from covm.federation.sync.standings import Replica

TypeOrName = str | type[msgspec.Struct]


class SharedData:
    """What a node holds together with others; see `FederationService`."""

    _node: Node

    def collection(self, type: TypeOrName) -> Collection[Any]:
        """The shared data of a type: entries by key, kept on every node that may read the type, conflicts and all.

        See `Collection`. Raises `InvalidMessage` for what is no type name, `UnknownMessageType` for a Struct that is
        not registered.
        """
        from covm.federation.sync.collection import Collection

        node = self._node
        return Collection(
            node.registry.name_of(type),
            node.sync.keeper,
            node.scribe,
            node.resolvers,
            node.registry,
            node.membership.member_of,
            node.require_writing,
        )

    async def replicas(self) -> list[Replica]:
        """How this node stands in each type of shared data, and beside each connected peer."""
        self._node.require_running()
        return await self._node.sync.replicas()

    async def request_sync(self, type: TypeOrName) -> None:
        """Fetches what connected peers have of a type and this node lacks. It also happens by itself, at once."""
        self._node.require_running()
        await self._node.sync.request(self._node.registry.name_of(type))

    async def export_records(self, type: TypeOrName, path: str | os.PathLike[str]) -> Exported:
        """Writes all records of a type that are here to a CAR file (content blocks that any IPLD tool reads).

        Void ones and those that wait are among them: whoever imports the file judges for itself. The file is there
        whole, or as it was before; only an older export of the type is written over. Raises `NothingHeld`,
        `FileUnusable`.
        """
        self._node.require_running()
        return await self._node.carrier.export(self._node.registry.name_of(type), _absolute(path))

    async def import_records(self, path: str | os.PathLike[str]) -> Imported:
        """Takes the records in such a file, as if they came from a peer; a second time changes nothing.

        All of it is verified before: each block, each signature, the federation, the type. Raises `FileUnusable`;
        `BrokenExport` with nothing taken, `NotAMember` and `NotAuthorized` where this node may not read the type;
        `StoreError`, and then a second import goes on where this one stopped.
        """
        self._node.require_running()
        return await self._node.carrier.import_(_absolute(path), self._node.require_reading)

    async def forks(self, limit: int = 100) -> list[Fork]:
        """Who wrote two records at one place of a log, by type and author, at most `limit` and 1,000.

        Both are kept and count like any others; with their signatures they are proof against their author.
        """
        self._node.require_running()
        return await self._node.forks.listed(limit)

    async def fork(self, fork: str) -> Fork:
        """One of them, by its id. Raises `UnknownFork`."""
        self._node.require_running()
        return await self._node.forks.get(fork)

    async def export_fork(self, fork: str, path: str | os.PathLike[str]) -> Fork:
        """Writes the proof of a fork, by its id, to a new file that anybody verifies without a node.

        See `covm federation forks verify`. Raises `UnknownFork`, `FileUnusable`.
        """
        self._node.require_running()
        return await self._node.forks.export(fork, _absolute(path))


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))
