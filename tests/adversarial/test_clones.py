"""A machine is copied, or its key alone, and both copies run: one identity twice, at the same time.

No defence keeps that from happening. What must not happen is that it goes unsaid, that a message is lost without a
word, or that the copies keep everybody busy by taking each other's place. Each copy of a home learns from its peers
that another life went on under its key, and sends what is pending in its own. Whoever is connected to one copy tells
the other.
"""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.adversarial.attacker import NOTE, PATIENCE_S
from tests.adversarial.conftest import LOOPBACK

from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.federation.errors import NotAdmitted
from covm.federation.events import PeerConnected, PeerRefused, RolledBack
from covm.federation.peers import door
from covm.testing import until

PATIENCE = timedelta(seconds=PATIENCE_S)

MANY = 6
"""Times that two copies have taken each other's place: more than it takes to find out that there are two."""


class Village:
    """Nodes with homes, and what each of them was told."""

    def __init__(self, stack: AsyncExitStack, place: Path) -> None:
        self.stack = stack
        self.place = place
        self.told: dict[int, list[Any]] = {}
        self.heard: list[Message[Any]] = []

    async def start(self, name: str, home: str, *bootstrap: str) -> FederationService:
        config = FederationConfig.preset(
            "local",
            membership="open",
            name=name,
            network="cloned",
            listen_addresses=LOOPBACK,
            home=str(self.place / home),
            bootstrap_peers=list(bootstrap),
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


async def dialled_by_two(village: Village) -> tuple[FederationService, list[FederationService]]:
    """A node, and two of one key, with homes of their own, that dial it again whenever they lose it."""
    other = await village.start("other", "other")
    return other, [await village.start("twin", home, other.addresses[0]) for home in ("one", "two")]


async def test_of_two_processes_with_one_key_one_is_served_and_the_other_is_told(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        village = Village(stack, tmp_path)
        other, twins = await dialled_by_two(village)
        other.subscribe(NOTE, village.heard.append)
        await until(lambda: village.events(other, PeerRefused), timeout=PATIENCE)
        refusal = village.events(other, PeerRefused)[0]
        assert (refusal.peer, refusal.by) == (twins[0].peer_id, other.peer_id)
        assert "two nodes run under one identity" in refusal.reason

        def told() -> list[FederationService]:
            return [twin for twin in twins if "one identity" in twin.get_peer_info(other.peer_id).last_error]

        await until(told, timeout=PATIENCE, what="one of them to know why it is sent away")
        await until(lambda: any(twin.connected_peers() for twin in twins), timeout=PATIENCE)
        served = next(twin for twin in twins if twin.connected_peers())
        await (await served.send_direct(other.peer_id, NOTE, "weeds")).handled(PATIENCE)
        with pytest.raises(NotAdmitted, match="stop one of them"):
            await next(twin for twin in twins if twin is not served).connect_peer(other.addresses[0])


async def test_a_copy_that_was_sent_away_takes_nobodys_place_when_it_comes_back(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        village = Village(stack, tmp_path)
        other, _ = await dialled_by_two(village)
        await until(lambda: len(village.events(other, PeerRefused)) >= 2, timeout=PATIENCE)
        assert len(village.events(other, PeerConnected)) < MANY


async def test_without_the_defence_two_copies_take_each_others_place_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "is_twin", lambda *_: False)
    async with AsyncExitStack() as stack:
        village = Village(stack, tmp_path)
        other, _ = await dialled_by_two(village)
        await until(lambda: len(village.events(other, PeerConnected)) >= MANY, timeout=PATIENCE)
        assert not village.events(other, PeerRefused)
