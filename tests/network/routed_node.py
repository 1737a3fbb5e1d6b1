"""A whole node for test_behind_routers: takes commands as lines of JSON, says what comes of them.

`send` sends numbered messages to a peer, and publishes numbered ones, until `rest`; `took` says what came of them at
the other side.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from msgspec import Struct

from covm.federation import FederationConfig, FederationService, Identity, Message, message_type
from covm.federation.errors import FederationError
from covm.federation.events import PeerConnected
from covm.federation.network import ways
from covm.federation.peers import detours
from covm.federation.peers.backoff import Backoff
from covm.testing import until

PATIENCE = timedelta(seconds=60)
PACE_S = 0.005


@message_type("mill.note")
class Note(Struct):
    number: int


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Node:
    def __init__(self, service: FederationService) -> None:
        self.service = service
        self.came: dict[str, Counter[int]] = {"direct": Counter(), "gossip": Counter()}
        self._sending: asyncio.Task[int] | None = None
        self._is_resting = False
        service.subscribe(Note, self._take)

    async def _take(self, message: Message[Note]) -> None:
        self.came["direct" if message.via == "direct" else "gossip"][message.payload.number] += 1

    def record(self, peer: str) -> Any:
        return self.service._node.peers.connections._roster.get(peer)

    async def send(self, peer: str) -> int:
        number = 0
        while not self._is_resting:
            await self.service.send_direct(peer, Note(number))
            await self.service.publish(Note(number))
            number += 1
            await asyncio.sleep(PACE_S)
        return number

    async def obey(self, do: str, *words: Any) -> Any:
        return await getattr(self, f"do_{do}")(*words)

    # --- what it is told to do

    async def do_connect(self, target: str) -> None:
        await self.service.connect_peer(target)

    async def do_send(self, peer: str) -> None:
        self._is_resting = False
        self._sending = asyncio.create_task(self.send(peer))

    async def do_rest(self) -> int:
        """How many were sent."""
        self._is_resting = True
        assert self._sending is not None
        return await self._sending

    # --- what it tells, once it is so

    async def do_connected(self, peer: str) -> None:
        await self.waits(lambda: peer in self.service.connected_peers())

    async def do_places(self, *relays: str) -> None:
        await self.waits(lambda: set(self.places()) == set(relays))

    async def do_reached(self, how: str) -> None:
        await self.waits(lambda: self.service.reachability.reached == how)

    async def do_met(self, peer: str, times: int) -> None:
        """So often it has become connected since it was first asked so."""
        async for event in self.service.events():
            if isinstance(event, PeerConnected) and event.peer == peer:
                times -= 1
            if not times:
                return

    async def do_relayed(self, peer: str) -> None:
        await self.waits(lambda: self.is_connected(peer, relayed=True))

    async def do_direct(self, peer: str) -> None:
        await self.waits(lambda: self.is_connected(peer, relayed=False))

    async def do_through(self, peer: str, relay: str) -> None:
        await self.waits(lambda: self.relays_to(peer) == [relay] and self.is_connected(peer, relayed=True))

    async def do_why(self, peer: str, beginning: str) -> str:
        await self.waits(lambda: self.record(peer).relayed_why.startswith(beginning))
        return str(self.record(peer).relayed_why)

    async def do_punched(self) -> list[tuple[str, bool]]:
        await self.waits(lambda: self.service.reachability.punches)
        return [(punch.peer, punch.worked) for punch in self.service.reachability.punches]

    async def do_took(self, count: int) -> dict[str, dict[str, list[int]]]:
        """What is missing of so many, or came twice."""
        wanted = set(range(count))
        with suppress(TimeoutError):
            await self.waits(lambda: all(came.keys() >= wanted for came in self.came.values()))
        return {
            via: {"missing": sorted(wanted - came.keys()), "twice": sorted(n for n in came if came[n] > 1)}
            for via, came in self.came.items()
        }

    # --- what it knows

    async def do_place(self, relay: str) -> tuple[str, int]:
        """What became of the place at a relay, and when."""
        [place] = [place for place in self.service.reachability.relays if place.relay == relay]
        return place.state, place.since_ms

    async def do_at(self) -> list[str]:
        return list(self.service.reachable_at)

    async def do_relays(self, peer: str) -> list[str]:
        return self.relays_to(peer)

    def is_connected(self, peer: str, *, relayed: bool) -> bool:
        record = self.record(peer)
        return record is not None and record.is_connected and record.is_relayed == relayed

    def places(self) -> list[str]:
        return [place.relay for place in self.service.reachability.relays if place.state == "accepted"]

    def relays_to(self, peer: str) -> list[str]:
        """The relays of the connections to a peer."""
        return [each.relay for each in self.record(peer).connections.values() if each.relayed]

    async def waits(self, condition: Callable[[], object]) -> None:
        await until(condition, timeout=PATIENCE)


async def main(settings: str) -> None:
    given = json.loads(settings)
    if given.pop("hurried", False):
        detours.AGAIN, detours.LOOK_S = Backoff(60.0, 60.0), 1.0  # type: ignore[misc]
    if terms := given.pop("relay_terms", None):
        with_terms = functools.partial(ways.Traversal, relay_terms=ways.RelayTerms(*terms))
        ways.Traversal = with_terms  # type: ignore[assignment,misc]
    config = FederationConfig(**given)
    async with FederationService(Identity.generate(), config, types=[Note]) as service:
        node = Node(service)
        say(peer=service.peer_id)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            try:
                say(result=await node.obey(*json.loads(line)))
            except (FederationError, TimeoutError) as error:
                say(error=str(error))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
