"""`SharedData`: the part of `FederationService` that is about shared data. It forwards and holds no rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from covm.federation.node import Node
    from covm.federation.sync.collection import Collection
    from covm.federation.sync.reading import Found
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

    async def find_records(self, beginning: str, limit: int = 8) -> list[Found]:
        """Records of any type whose ids begin so, also without what all ids begin with: type, key and id of each."""
        from covm.federation.sync import reading
        from covm.federation.wire.id_range import ids_between

        self._node.require_running()
        if (ids := ids_between(beginning)) is None:
            return []
        return await self._node.sync.keeper.store.read(lambda tx: reading.between(tx, *ids, limit))

    async def replicas(self) -> list[Replica]:
        """How this node stands in each type of shared data, and beside each connected peer."""
        self._node.require_running()
        return await self._node.sync.replicas()

    async def request_sync(self, type: TypeOrName) -> None:
        """Fetches what connected peers have of a type and this node lacks. It also happens by itself, at once."""
        self._node.require_running()
        await self._node.sync.request(self._node.registry.name_of(type))
