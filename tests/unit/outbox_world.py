"""Two machines with disks that outlive their nodes, and what a test of the outbox asks of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from covm.federation import FederationService, Message
from covm.federation.dispatch.receipts import Receipt
from covm.testing.loop import run_in_virtual_time
from covm.testing.machine import Machine
from covm.testing.world import World

NOTE = "private.note"
LONG = timedelta(hours=2)
"""Longer than any pause between two attempts."""


def virtually(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test on a loop whose time leaps."""

    @functools.wraps(story)
    def told(*args: Any, **kwargs: Any) -> None:
        run_in_virtual_time(story(*args, **kwargs))

    return told


class Post:
    """Ada writes to Ben. `received` are the payloads that Ben's handler got, over all lives of his node."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ada, self.ben = world.machines
        self.received: list[Any] = []
        self.events: list[Any] = []
        self.handles = True
        self.ben.application = self._handle
        self.ada.application = self._listen

    async def meet(self) -> None:
        await self.world.start_all()
        await self.connected()

    async def connected(self) -> None:
        await in_time(lambda: sees(self.ada, self.ben) and sees(self.ben, self.ada))

    def apart(self) -> None:
        """The wire between them is cut."""
        self.world.fabric.cut(self.ada.peer_id, self.ben.peer_id)

    async def together(self) -> None:
        self.world.fabric.heal()
        await self.connected()

    async def send(self, *payloads: Any, **options: Any) -> list[Receipt]:
        send = functools.partial(self.ada.service.send_direct, self.ben.peer_id, NOTE, **options)
        return await asyncio.gather(*map(send, payloads))

    def told(self, kind: type) -> list[Any]:
        """Events of a kind at Ada's."""
        return [event for event in self.events if isinstance(event, kind)]

    def outbox(self, columns: str = "seq, state") -> list[tuple[Any, ...]]:
        """Ada's outbox as it is on her disk."""
        return self.ada.disk.query(f"SELECT {columns} FROM covm_outbox ORDER BY id")

    def _handle(self, machine: Machine, service: FederationService) -> None:
        def note(message: Message[Any]) -> None:
            if machine.is_up:
                self.received.append(message.payload)

        if self.handles:
            service.subscribe(NOTE, note, name="note")

    def _listen(self, machine: Machine, service: FederationService) -> None:
        stream = service.events()

        async def listen() -> None:
            async for event in stream:
                self.events.append(event)

        self._listening = machine.spawn(listen(), "listening")


async def in_time(condition: Callable[[], object], timeout: timedelta = LONG) -> None:
    """For what takes minutes of the world's time: looks once a second of it."""
    for _ in range(int(timeout.total_seconds())):
        if condition():
            return
        await asyncio.sleep(1)
    raise AssertionError(f"it did not come true within {timeout}")


def sees(one: Machine, other: Machine) -> bool:
    return one.is_up and other.peer_id in one.service.connected_peers()


@asynccontextmanager
async def post(**config: Any) -> AsyncIterator[Post]:
    """Both machines, started and connected."""
    async with World(seed=3, names=["ada", "ben"], config=config) as world:
        told = Post(world)
        await told.meet()
        yield told


def violations(machine: Machine) -> dict[str, int]:
    return {reason: count for reason, count in machine.service.stats()["dropped"].items() if count}
