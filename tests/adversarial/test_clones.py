"""A machine is copied, and both copies run: one key, one home twice, at the same time.

No defence keeps that from happening. What must not happen is that it goes unsaid, or that a message is lost without a
word: each copy learns from its peers that another life went on under its key, and sends what is pending in its own.
"""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.adversarial.attacker import NOTE, PATIENCE_S
from tests.adversarial.conftest import LOOPBACK

from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.federation.events import RolledBack
from covm.testing import until

PATIENCE = timedelta(seconds=PATIENCE_S)


class Village:
    """Nodes with homes, and what each of them was told."""

    def __init__(self, stack: AsyncExitStack, place: Path) -> None:
        self.stack = stack
        self.place = place
        self.told: dict[int, list[Any]] = {}
        self.heard: list[Message[Any]] = []

    async def start(self, name: str, home: str) -> FederationService:
        config = FederationConfig.preset(
            "local",
            membership="open",
            name=name,
            network="cloned",
            listen_addresses=LOOPBACK,
            home=str(self.place / home),
        )
        one = FederationService(Identity.from_seed(name.encode().ljust(32, b".")), config)
        told = self.told[id(one)] = []
        emit = one._node.hub.emit

        def note(event: Any) -> None:
            told.append(event)
            emit(event)

        one._node.hub.emit = note  # type: ignore[method-assign]
        await self.stack.enter_async_context(one)
        return one

    def events(self, one: FederationService, kind: type) -> list[Any]:
        return [event for event in self.told[id(one)] if isinstance(event, kind)]


async def test_two_copies_of_one_machine_are_told_of_each_other_and_lose_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        village = Village(stack, tmp_path)
        other = await village.start("other", "other")
        other.subscribe(NOTE, village.heard.append)
        one = await village.start("twin", "one")
        await one.connect_peer(other.addresses[0])
        for text in ("a", "b"):
            await (await one.send_direct(other.peer_id, NOTE, text)).handled(PATIENCE)
        await one.stop()
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        first, second = await village.start("twin", "one"), await village.start("twin", "two")
        twins = {"first": first, "second": second}
        for round_ in range(3):
            for name, twin in twins.items():
                receipt = await twin.send_direct(other.peer_id, NOTE, f"{name} {round_}")
                await twin.connect_peer(other.addresses[0])
                await receipt.handled(PATIENCE)
                # A node speaks with one of them at a time: the other's messages wait until it is its turn.
                await twin.disconnect_peer(other.peer_id)
                await until(lambda: one.peer_id not in other.connected_peers(), timeout=PATIENCE)
        payloads = [message.payload for message in village.heard]
        assert sorted(payloads) == sorted(["a", "b", *(f"{name} {round_}" for name in twins for round_ in range(3))])
        assert village.events(first, RolledBack), "the copies are told"
        assert village.events(second, RolledBack)
