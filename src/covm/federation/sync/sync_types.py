"""`SyncTypes`: groups of record types under a name, each with a store and a resolver."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from covm.federation.clock import Clock, Random
from covm.federation.errors import UnknownSyncType
from covm.federation.events import EventHub
from covm.federation.identity.roles import Resolver
from covm.federation.ports import Transactor
from covm.federation.store.interface import Store
from covm.federation.supervisor import Supervisor
from covm.federation.sync import feed_rows
from covm.federation.sync.collection import Collection
from covm.federation.sync.feed import Feed, Retry, is_transactional
from covm.federation.sync.feed_rows import Feeding
from covm.federation.sync.manager import SyncManager
from covm.federation.sync.resolvers import NamedResolver, Resolvers
from covm.federation.sync.standings import Applied, SyncStatus
from covm.federation.sync.taken import Taken


class SyncType(NamedTuple):
    """One group."""

    name: str
    types: tuple[str, ...]
    target: Any
    """The application's store; None for this node's own."""
    feeds: tuple[Feed, ...]


class SyncTypes:
    """The groups of this node."""

    def __init__(
        self,
        manager: SyncManager,
        resolvers: Resolvers,
        collection: Callable[[str], Collection[Any]],
        registered: Callable[[], Sequence[str]],
        store: Store,
        transactor: Transactor,
        retry: Retry,
        clock: Clock,
        random: Random,
        hub: EventHub,
    ) -> None:
        self._manager = manager
        self._resolvers = resolvers
        self._collection = collection
        self._registered = registered
        self._store = store
        self._transactor = transactor
        self._retry = retry
        self._clock = clock
        self._random = random
        self._hub = hub
        self._groups: dict[str, SyncType] = {}
        self._supervisor: Supervisor | None = None
        manager.keeper.listeners.append(self._taken)

    def start(self, supervisor: Supervisor) -> None:
        """Stores are fed from now on."""
        self._supervisor = supervisor
        for group in self._groups.values():
            self._start(group)

    def register(
        self,
        name: str,
        target: Any,
        types: Sequence[str],
        resolver: NamedResolver | Resolver | None,
    ) -> None:
        """As `FederationService.register_sync_type`."""
        if name in self._groups:
            raise ValueError(f"there is a sync type {name} already; choose another name")
        if is_transactional(target) and inspect.iscoroutinefunction(target.apply):
            raise TypeError("a transactional store's apply is called inside a transaction; define it with `def`")
        for wanted in ("apply", "get"):
            if target is not None and not callable(getattr(target, wanted, None)):
                raise TypeError(f"a store of a sync type has a method {wanted}, and {target!r} has none")
        if resolver is not None:
            if isinstance(resolver, NamedResolver):
                if not self._resolvers.knows(resolver):
                    self._resolvers.register(resolver.name, resolver.version, resolver.function)
                resolver = Resolver(resolver.name, resolver.version)
            self._resolvers.choose(types, resolver)
        feeds = () if target is None else tuple(self._feed(name, each, target) for each in types)
        group = self._groups[name] = SyncType(name, tuple(types), target, feeds)
        if self._supervisor is not None:
            self._start(group)
        self._manager.group(types)
        self._manager.bodies.all_of(feed.of.type for feed in feeds)

    def types_of(self, name: str) -> tuple[str, ...]:
        """The types of a group, or the one type that is called so. Raises `UnknownSyncType`."""
        group = self._groups.get(name)
        if group is not None:
            return group.types
        if name not in self._manager.known() and name not in self._registered():
            raise UnknownSyncType(name)
        return (name,)

    async def settled(self, name: str) -> None:
        """Returns once the store of a group has had all that is here now, though it may not have taken it.

        Raises `SyncStoreBusy` where it does not return from one of them.
        """
        for feed in self._feeds(name):
            await feed.until_settled()

    async def get(self, name: str, key: str) -> Any:
        """What the store of a group has under a key."""
        group = self._groups.get(name)
        if group is None or group.target is None:
            found = [await self._collection(each).get(key) for each in self.types_of(name)]
            return next((each for each in found if each is not None), None)
        value = group.target.get(key)
        return await value if inspect.isawaitable(value) else value

    async def status(self, name: str) -> SyncStatus:
        """As `FederationService.get_sync_status`."""
        types = self.types_of(name)
        applied = [
            Applied(
                feed.of.type,
                await self._store.read(partial(feed_rows.behind, type_name=feed.of.type, after=feed.cursor)),
                feed.failures,
                feed.applied_ms,
                feed.trouble,
            )
            for feed in self._feeds(name)
        ]
        resolvers = {each: self._resolver(each) for each in types}
        return SyncStatus(name, tuple(await self._manager.replicas(types)), tuple(applied), resolvers)

    def _resolver(self, type_name: str) -> str:
        resolver = self._resolvers.of(type_name, self._manager.keeper.authority.rule(type_name))
        return f"{resolver.name} version {resolver.version}"

    def _feeds(self, name: str) -> tuple[Feed, ...]:
        group = self._groups.get(name)
        return () if group is None else group.feeds

    def _feed(self, name: str, type_name: str, target: Any) -> Feed:
        return Feed(
            Feeding(name, type_name),
            self._collection(type_name),
            target,
            self._store,
            self._transactor,
            self._retry,
            self._clock,
            self._random,
            self._hub,
        )

    def _start(self, group: SyncType) -> None:
        assert self._supervisor is not None  # noqa: S101 - it has started
        for feed in group.feeds:
            self._supervisor.keep(feed.run, f"handing {feed.of.type} to the store of {group.name}")

    def _taken(self, taken: Taken) -> None:
        judged = {name for name, _ in taken.keys}
        for group in self._groups.values():
            for feed in group.feeds:
                if feed.of.type in judged:
                    feed.wake()


def refuse_writing(type_name: str) -> None:
    """For collections that are read here alone."""
    raise AssertionError(f"{type_name} is read here, not written")
