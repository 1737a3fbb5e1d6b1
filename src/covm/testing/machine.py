"""A machine on which a node runs, crashes and runs again; its key, its disk and its clock outlive the node."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.clock import SeededRandom
from covm.federation.errors import NotStarted
from covm.federation.network.interface import STREAM_PROTOCOLS, Handler, NetworkEvent
from covm.federation.network.simulated import SimulatedFabric, SimulatedNetwork
from covm.testing.clock import LoopClock
from covm.testing.disk import Disk
from covm.testing.loop import let_all_end, owner, virtual_loop
from covm.testing.trace import Trace

if TYPE_CHECKING:
    import msgspec

    from covm.federation.store.interface import Store

T = TypeVar("T")
Application = Callable[["Machine", FederationService], None]

CANCELLATIONS = 10
"""How often a crash cancels what still runs: a task that ends others as it ends takes two."""


class Crashed(Exception):
    """The machine crashed in the middle of what was asked of it."""


class _TracedNetwork(SimulatedNetwork):
    """A simulated network that takes down what it hands to its node."""

    def __init__(self, fabric: SimulatedFabric, identity: Identity, config: FederationConfig, note: _Note) -> None:
        super().__init__(
            fabric,
            identity.keypair,
            tuple(config.listen_addresses),
            config.max_connections,
            STREAM_PROTOCOLS,
        )
        self._note = note

    async def start(self, handler: Handler, hello: bytes) -> None:
        await super().start(_TracedHandler(handler, self._note), hello)


_Note = Callable[..., None]


class _TracedHandler:
    """Stands between a network and its handler."""

    def __init__(self, handler: Handler, note: _Note) -> None:
        self._handler = handler
        self._note = note

    def on_network_events(self, events: Sequence[NetworkEvent]) -> None:
        for event in events:
            self._note("hears", event)
        self._handler.on_network_events(events)


class _Life:
    """One run of a node, from its start to its end; what it starts belongs to it."""

    def __init__(self, number: int, service: FederationService, network: SimulatedNetwork, store: Store) -> None:
        self.number = number
        self.service = service
        self.network = network
        self.store = store
        self.context: Context = copy_context()
        self.context.run(owner.set, self)


class Machine:
    """One machine of a `World`. At most one node runs on it at a time; `lives` counts them.

    `application` is called with each new node before it starts, to subscribe handlers and to `spawn` what the
    application does by itself.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        config: FederationConfig,
        types: Sequence[type[msgspec.Struct]],
        fabric: SimulatedFabric,
        disk: Disk,
        clock: LoopClock,
        trace: Trace,
        seed: str,
    ) -> None:
        self.name = config.name
        self.peer_id = identity.peer_id
        self.disk = disk
        self.clock = clock
        self.application: Application = _no_application
        self.lives = 0
        self._identity = identity
        self._config = config
        self._types = types
        self._fabric = fabric
        self._trace = trace
        self._seed = seed
        self._life: _Life | None = None
        self._dying: list[asyncio.Task[Any]] = []
        disk.crash = self.crash

    def __repr__(self) -> str:
        return f"<Machine {self.name}>"

    @property
    def is_up(self) -> bool:
        """Whether a node runs here, or is starting or stopping."""
        return self._life is not None

    def is_living(self, life: object) -> bool:
        """Whether what belongs to `life` (see `loop.owner`) belongs to the node that runs here now."""
        return life is not None and self._life is life

    @property
    def service(self) -> FederationService:
        """The node that runs here. Raises `NotStarted`."""
        return self._running().service

    async def start(self) -> FederationService:
        """Starts a node on what the disk holds. Raises what `FederationService.start` raises, and `Crashed`.

        Cancelled, it leaves a crashed machine, as `stop` does.
        """
        if self._life is not None:
            raise RuntimeError(f"a node runs on {self.name} already")
        await let_all_end(self._dying)
        self._dying = []
        life = self._life = self._begin()
        self.note("starts", life.number)
        try:
            life.context.run(self.application, self, life.service)
            await self._in(life, life.service.start())
        except asyncio.CancelledError:
            self.crash()
            raise
        except BaseException:
            self._end(life)
            raise
        return life.service

    async def stop(self) -> None:
        """Stops the node as its operator would. Raises `Crashed`. Twice is once."""
        if (life := self._life) is not None:
            self.note("stops", life.number)
            try:
                await self._in(life, life.service.stop())
            except asyncio.CancelledError:
                self.crash()
                raise
            finally:
                self._end(life)

    def crash(self, *, silent: bool = False) -> None:
        """Ends the node between two steps of its program: nothing that it still does has any effect.

        Network and disk are severed first, so that nobody hears what its tasks say as they end. With `silent` its
        peers see no connection close, as when the machine loses power. Without a running node nothing happens.
        """
        if (life := self._life) is None:
            return
        self.note("crashes", life.number, silent)
        life.network.crash(silent=silent)
        self.disk.sever()
        self._end(life)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str = "application") -> asyncio.Task[T]:
        """Runs something as part of the node's process: it ends, at the latest, when the node does."""
        life = self._running()
        return virtual_loop().create_task(coroutine, context=life.context.copy(), name=f"{self.name}: {name}")

    def note(self, what: str, *details: object) -> None:
        """Takes down in the world's trace what happened here."""
        self._trace.note(self.name, what, *details)

    # --- within ---

    def _running(self) -> _Life:
        if self._life is None:
            raise NotStarted(f"the node on {self.name}")
        return self._life

    def _begin(self) -> _Life:
        self.lives += 1
        store = self.disk.mount()
        network = _TracedNetwork(self._fabric, self._identity, self._config, self.note)
        service = FederationService(
            self._identity,
            self._config,
            types=self._types,
            network=network,
            clock=self.clock,
            random=SeededRandom(_number(f"{self._seed}/{self.name}/{self.lives}")),
            store=store,
        )
        return _Life(self.lives, service, network, store)

    async def _in(self, life: _Life, work: Coroutine[Any, Any, T]) -> T:
        """Waits for a step in the node's life that a crash may end."""
        name = f"{self.name}: life {life.number}"
        task: asyncio.Task[T] = virtual_loop().create_task(work, context=life.context.copy(), name=name)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.cancelled():
            raise Crashed(f"{self.name} crashed")
        return task.result()

    def _end(self, life: _Life) -> None:
        if self._life is not life:
            return
        self._life = None
        loop = virtual_loop()
        current = asyncio.current_task()
        tasks = [task for task in loop.tasks_of(life) if task is not current]
        for task in tasks:
            task.cancel()
        # In a context of its own: it does not belong to the life that it ends.
        burial = loop.create_task(self._bury(life), context=Context(), name=f"{self.name}: end of life {life.number}")
        self._dying.append(burial)

    async def _bury(self, life: _Life) -> None:
        loop = virtual_loop()
        for _ in range(CANCELLATIONS):
            if not (tasks := loop.tasks_of(life)):
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.0)
        left = ", ".join(task.get_name() for task in loop.tasks_of(life))
        raise RuntimeError(f"tasks of a node that crashed do not end: {left}")


def _no_application(_machine: Machine, _service: FederationService) -> None:
    pass


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
