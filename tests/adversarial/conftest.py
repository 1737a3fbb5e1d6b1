"""The scene of every attack: a victim and an honest node over libp2p on loopback, and as many attackers as it takes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.attacker import NOTE, PATIENCE_S, Attacker

from covm import _native
from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.federation.clock import SystemClock
from covm.federation.network.libp2p import Libp2pNetwork
from covm.testing import until

PATIENCE = timedelta(seconds=PATIENCE_S)
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]


class Standstill(SystemClock):
    """Time that does not pass, so that no allowance is renewed."""

    def monotonic_s(self) -> float:
        return 1_000.0


class Scene:
    """Two honest nodes, what the victim's handler heard, and what it charged to whom."""

    def __init__(self, victim: FederationService, honest: FederationService, stack: AsyncExitStack) -> None:
        self.victim = victim
        self.honest = honest
        self.heard: list[Message[Any]] = []
        self.told: list[Any] = []
        """Events of the victim."""
        self.charged: Counter[str] = Counter()
        self._stack = stack
        self._names = (f"attacker {number}" for number in itertools.count())
        self._greetings = (f"honest greeting {number}" for number in itertools.count())
        victim.subscribe(NOTE, self.heard.append)
        emit = victim._node.hub.emit

        def note(event: Any) -> None:
            self.told.append(event)
            emit(event)

        victim._node.hub.emit = note  # type: ignore[method-assign]

    async def attacker(self, name: str = "", **changes: Any) -> Attacker:
        """One more attacker, not connected yet."""
        one = Attacker(name or next(self._names), self.victim.federation_id, **changes)
        return await self._stack.enter_async_context(one)

    async def joined(self, name: str = "", **changes: Any) -> Attacker:
        """One more attacker, admitted and subscribed."""
        one = await self.attacker(name, **changes)
        await one.join(self.victim)
        return one

    async def trusted(self, name: str = "") -> tuple[Attacker, int, int]:
        """One that counts as connected: the attacker, its stream to the victim, the victim's stream to it."""
        one = await self.joined(name)
        ours, theirs = await one.open(self.victim), await one.stream_from(self.victim)
        await self.until(lambda: one.peer_id in self.victim.connected_peers())
        return one, ours, theirs

    def dropped(self, reason: str) -> int:
        """How many messages or frames the victim turned away for a reason."""
        return int(self.victim.stats()["dropped"].get(reason, 0))

    def heard_from(self, author: str | Attacker) -> list[Any]:
        """The payloads that the victim's handler got in somebody's name."""
        author = author.peer_id if isinstance(author, Attacker) else author
        return [message.payload for message in self.heard if message.author == author]

    async def until(self, condition: Callable[[], object], what: str = "what the test waits for") -> None:
        await until(condition, timeout=PATIENCE, what=what)

    async def until_dropped(self, reason: str, count: int = 1) -> None:
        def counted() -> bool:
            return self.dropped(reason) >= count

        try:
            await self.until(counted)
        except TimeoutError:
            raise AssertionError(f"{count} of {reason} expected: {self.victim.stats()['dropped']}") from None

    async def honest_is_heard(self) -> None:
        """Honest traffic goes on, both ways of it."""
        published, sent = next(self._greetings), next(self._greetings)
        await self.honest.publish(NOTE, published)
        receipt = await self.honest.send_direct(self.victim.peer_id, NOTE, sent)
        await receipt.handled(PATIENCE)
        await self.until(lambda: {published, sent} <= set(self.heard_from(self.honest.peer_id)))


def _service(name: str, changes: dict[str, Any], clock: Any = None) -> FederationService:
    seed = name.encode().ljust(32, b".")
    config = FederationConfig.preset(
        "local", membership="open", name=name, network="attacked", listen_addresses=LOOPBACK, **changes
    )
    return FederationService(Identity.from_seed(seed), config, clock=clock)


SceneMaker = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def make_scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SceneMaker]:
    """Makes a scene with a victim configured as told. At the end no node may have met a fault of its own."""
    scenes: list[Scene] = []
    charge = Libp2pNetwork.charge

    def noted(network: Libp2pNetwork, peer: str, amount: float) -> None:
        for scene in scenes:
            if network.peer_id == scene.victim.peer_id:
                scene.charged[peer] += 1
        charge(network, peer, amount)

    monkeypatch.setattr(Libp2pNetwork, "charge", noted)
    async with AsyncExitStack() as stack:

        async def make(clock: Any = None, **changes: Any) -> Scene:
            victim = await stack.enter_async_context(_service("victim", changes, clock))
            honest = await stack.enter_async_context(_service("honest", {}))
            scene = Scene(victim, honest, stack)
            scenes.append(scene)
            await honest.connect_peer(victim.addresses[0])
            await scene.until(lambda: honest.peer_id in victim.connected_peers())
            return scene

        yield make
        for scene in scenes:
            assert scene.victim.stats()["faults"] == scene.honest.stats()["faults"] == 0


@pytest.fixture
async def scene(make_scene: SceneMaker) -> Scene:
    return await make_scene()


@pytest.fixture
def switch_off() -> Iterator[Callable[[str], None]]:
    """Turns a defence of the core off until the end of the test."""
    turned_off: list[str] = []

    def turn_off(name: str) -> None:
        _native.switch_off(name)
        turned_off.append(name)

    yield turn_off
    for name in turned_off:
        _native.switch_on(name)
