"""`SharedData`: the part of `FederationService` that is about shared data. It forwards and holds no rule."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from covm.federation.identity.roles import Resolver

if TYPE_CHECKING:
    from covm.federation.node import Node
    from covm.federation.sync.collection import Collection
    from covm.federation.sync.exporting import Exported, Imported
    from covm.federation.sync.forks import Fork
    from covm.federation.sync.reading import Found
    from covm.federation.sync.resolvers import NamedResolver
    from covm.federation.sync.standings import Replica, SyncProgress, SyncStatus
    from covm.federation.sync.sync_store import SyncStore, TransactionalSyncStore

TypeOrName = str | type[msgspec.Struct]


class SharedData:
    """What a node holds together with others; see `FederationService`."""

    _node: Node

    def collection(self, type: TypeOrName) -> Collection[Any]:
        """The shared data of a type: entries by key, kept on every node that may read the type, conflicts and all.

        See `Collection`. Raises `InvalidMessage` for what is no type name, `UnknownMessageType` for a Struct that is
        not registered.
        """
        node = self._node
        return node.collection(node.registry.name_of(type), node.require_writing)

    async def register_sync_type(
        self,
        name: str,
        store: SyncStore | TransactionalSyncStore | None = None,
        *,
        types: Sequence[TypeOrName] = (),
        resolver: NamedResolver | tuple[str, int] | None = None,
    ) -> None:
        """Puts types of shared data under one name, and keeps them in a store of the application's, if one is given.

        The store gets every entry that changes, and once, under this name, all that there is already: see `SyncStore`.
        `transactional` ones work in the node's own transactions. `types` is the type of that name where left out. The
        resolver, one of the application's own or name and version of one that is here, says how this node shows
        them, where members have agreed on no rule for the type. It may be called before the node is started. Raises
        `InvalidMessage` for what is no name, `ValueError` for a name that is taken and a resolver that is not here,
        `TypeError` for what is no store.
        """
        registry = self._node.registry
        names = [registry.name_of(each) for each in types] or [registry.name_of(name)]
        rule = Resolver(*resolver) if isinstance(resolver, tuple) else resolver
        self._node.sync_types.register(registry.name_of(name), store, list(dict.fromkeys(names)), rule)

    async def find_records(self, beginning: str, limit: int = 8) -> list[Found]:
        """Records of any type whose ids begin so, also without what all ids begin with: type, key and id of each."""
        from covm.federation.sync import reading
        from covm.federation.wire.id_range import ids_between

        self._node.require_running()
        if (ids := ids_between(beginning)) is None:
            return []
        return await self._node.sync.keeper.store.read(lambda tx: reading.between(tx, *ids, limit))

    async def record_owner(self, record: str) -> str | None:
        """Whose a record is, by its id: the member whose nodes erase it, in `open` mode the peer id of its author.

        None for what is not here, and while it is not known yet whose it is.
        """
        from covm.federation.wire.id_range import link_of

        self._node.require_running()
        link = link_of(record)
        found = None if link is None else await self._node.sync.authored(link)
        return None if found is None else found.owner

    async def replicas(self) -> list[Replica]:
        """How this node stands in each type of shared data, and beside each connected peer."""
        self._node.require_running()
        return await self._node.sync.replicas()

    def types_put_off(self) -> dict[str, int]:
        """How many types each connected peer names of which nothing is known here, and that are asked for in turns.

        Nothing is known of a type that is not registered, has no rule of its own, and has no records here.
        """
        self._node.require_running()
        return self._node.sync.put_off()

    async def request_sync(self, name: TypeOrName, key: str | None = None, *, peer: str | None = None) -> Any:
        """Fetches what connected peers, or one, have of a sync type or a type and this node lacks.

        Returns once no more of it is to be had, and the application's store has had it; or when nothing has come for a
        minute. That a peer was interrupted is in `get_sync_status`, and it is asked again. With a key it returns what
        the store has under it, or the `Entry` where there is no store; None where there is nothing. It also happens by
        itself, at once. Raises `UnknownSyncType`, `UnknownPeer`, `PeerNotConnected`, `SyncStoreBusy` when the
        application's store does not return from `apply`, and what its `get` raises.
        """
        node, text = self._node, self._node.registry.name_of(name)
        node.require_running()
        types = node.sync_types.types_of(text)
        if peer is not None:
            node.peers.status(peer)
        await node.sync.request(types, peer)
        await node.sync_types.settled(text)
        return None if key is None else await node.sync_types.get(text, key)

    async def request_sync_of_all(self, *, peer: str | None = None) -> None:
        """As `request_sync`, of all types that this node or a connected peer has something of, side by side.

        Raises `UnknownPeer`, `PeerNotConnected`.
        """
        node = self._node
        node.require_running()
        if peer is not None:
            node.peers.status(peer)
        await node.sync.request(node.sync.known(), peer)

    def sync_progress(self, name: TypeOrName | None = None, *, peer: str | None = None) -> SyncProgress:
        """How much has come of a sync type, a type or all, from connected peers or one: for who draws a bar.

        Raises `UnknownSyncType`, `PeerNotConnected`.
        """
        node = self._node
        node.require_running()
        types = node.sync.known() if name is None else node.sync_types.types_of(node.registry.name_of(name))
        return node.sync.progress(types, peer)

    async def get_sync_status(self, name: TypeOrName) -> SyncStatus:
        """How a sync type, or a type, stands: beside each connected peer, and in the application's store.

        Raises `UnknownSyncType`.
        """
        self._node.require_running()
        return await self._node.sync_types.status(self._node.registry.name_of(name))

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

        Records that are here without their values are given them, but for what was erased.

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
