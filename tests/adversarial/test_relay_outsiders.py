"""Outsiders at a member's relay: without a pass of their own they are carried nowhere, and with one not in bulk.

THREATS.md, rows *peers*: relay used by outsiders, or for bulk. Real sockets: the relay is the core's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.adversarial.knocker import pieces
from tests.network.join_side import Side
from tests.network.world import PATIENCE
from tests.unit.members_world import Coop
from tests.unit.membership_world import key_of, salt

from covm import _native
from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.errors import ConnectionFailed
from covm.federation.identity.identities import Identities
from covm.federation.membership import tables
from covm.federation.membership.founding import draft_charter, found
from covm.federation.membership.invites import decode_invite
from covm.federation.membership.passes import CIRCUITS_PER_USE, seal_pass, show_pass
from covm.federation.membership.passing import CIRCUITS, Passing
from covm.federation.network import interface as net
from covm.federation.network.libp2p import Libp2pNetwork
from covm.federation.network.ways import Traversal
from covm.federation.store import make_store
from covm.federation.wire.frames import KnownFrame, encode_frame
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.federation.wire.membership import MembersHave, RelayPass
from covm.testing import until

SECRET = b"s" * 32
FAR_MS = 4_000_000_000_000


class Outsider(Side):
    """Who is no member and knocks at the relay: it says what it likes, and never lets anybody in."""

    network: Libp2pNetwork

    def __init__(self, name: str, federation: _native.Link) -> None:
        key = key_of(name)
        super().__init__(Libp2pNetwork(key, listen=[], agent="outsider", traversal=Traversal(relay_client=True)))
        self.hello = encode_join_hello(JoinHello(federation=federation, name=name))
        self.shown: KnownFrame | None = None

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        super().on_network_events(events)
        for event in events:
            if isinstance(event, net.HelloReceived) and self.shown is not None:
                self.network.talk(event.connection, list(pieces(encode_frame(self.shown))))

    @property
    def refusal(self) -> str:
        return next((event.reason for event in self.heard(net.JoinRefused)), "")


class Yard:
    """A relay, and a member that is reached through it alone; outsiders come and go."""

    def __init__(self, relay: FederationService, mill: FederationService, stack: AsyncExitStack) -> None:
        self.relay = relay
        self.mill = mill
        self._stack = stack
        self._names = iter(range(1000))

    @property
    def through(self) -> str:
        return next(address for address in self.mill.reachable_at if "/p2p-circuit/" in address)

    async def outsider(self) -> Outsider:
        one = Outsider(f"outsider {next(self._names)}", self.relay.federation_id.cid)
        await one.network.start(one, one.hello)
        self._stack.push_async_callback(one.network.stop)
        return one

    async def is_carried(self, one: Outsider) -> bool:
        """Whether it gets to the mill; if it was refused for what it showed, that is heard before it gives up."""
        try:
            await one.network.dial(self.mill.peer_id, [self.through.removesuffix(f"/p2p/{self.mill.peer_id}")])
        except ConnectionFailed:
            return False
        return True


@asynccontextmanager
async def yard(folder: Path) -> AsyncIterator[Yard]:
    """Two founders' nodes, connected, of which one has a place at the other."""
    identities = {name: Identity.from_seed(name.encode().ljust(32, b".")) for name in ("square", "mill")}
    coops = {name: Coop(name, identity.keypair) for name, identity in identities.items()}
    logs = [coop.inception for coop in coops.values()]
    heads = [head for coop in coops.values() if (head := Identities(logs).head(coop.member)) is not None]
    charter = found(draft_charter("The yard", heads, salt=salt("yard")), [each.key for each in coops.values()], logs)
    settings: dict[str, dict[str, Any]] = {
        "square": {"enable_relay": True},
        "mill": {"reachability": "private", "listen_addresses": []},
    }
    async with AsyncExitStack() as stack:
        services = {}
        for name, identity in identities.items():
            home = folder / name
            home.mkdir(mode=0o700)
            store = make_store(home, "")
            await store.open()
            await store.write(partial(tables.save_founded, charter=charter, entries=logs, own=coops[name].member))
            await store.close()
            config = FederationConfig.preset("local", home=str(home), federation=str(charter.id), **settings[name])
            services[name] = await stack.enter_async_context(FederationService(identity, config))
        square, mill = services["square"], services["mill"]
        await mill.connect_peer(square.addresses[0])
        made = Yard(square, mill, stack)
        await until(lambda: any("/p2p-circuit/" in each for each in mill.reachable_at), timeout=PATIENCE)
        yield made


def as_shown(y: Yard, grant: bytes, joiner: str, secret: bytes = SECRET) -> RelayPass:
    shown = show_pass(grant, secret, y.relay.peer_id, joiner)
    assert shown is not None
    return shown


def of_a_stranger(y: Yard, one: Outsider) -> RelayPass:
    """A pass that nobody gave who may."""
    grant = seal_pass(key_of("anybody"), y.relay.federation_id.cid, SECRET, 10, FAR_MS)
    return as_shown(y, grant, one.network.peer_id)


def of_somebody_else(y: Yard, one: Outsider) -> RelayPass:
    """What a joiner showed, overheard and said again."""
    grant = seal_pass(
        Identity.from_seed(b"mill".ljust(32, b".")).keypair, y.relay.federation_id.cid, SECRET, 10, FAR_MS
    )
    return as_shown(y, grant, key_of("an honest joiner").peer_id)


def expired(y: Yard, one: Outsider) -> RelayPass:
    grant = seal_pass(Identity.from_seed(b"mill".ljust(32, b".")).keypair, y.relay.federation_id.cid, SECRET, 10, 1_000)
    return as_shown(y, grant, one.network.peer_id)


@pytest.mark.parametrize("defended", [True, False])
@pytest.mark.parametrize("made", [of_a_stranger, of_somebody_else, expired])
async def test_a_pass_that_was_not_given_to_who_shows_it_carries_nobody(
    made: Callable[[Yard, Outsider], RelayPass], defended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(Passing, "_problem", carries_everybody)
    async with yard(tmp_path) as y:
        one = await y.outsider()
        one.shown = made(y, one)
        assert await y.is_carried(one) == (not defended)
        assert bool(one.refusal) == defended
        assert y.relay.stats()["dropped"].get("relay_pass_refused", 0) == int(defended)


async def carries_everybody(self: Passing, joiner: str, shown: RelayPass) -> None:
    await self._network.allow_relay(joiner, CIRCUITS, 60.0)


async def test_who_shows_nothing_is_carried_nowhere(tmp_path: Path) -> None:
    async with yard(tmp_path) as y:
        one = await y.outsider()
        one.shown = MembersHave()
        assert not await y.is_carried(one)
        assert one.refusal


@pytest.mark.parametrize("defended", [True, False])
async def test_one_invite_carries_no_crowd(defended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not defended:
        monkeypatch.setattr(Passing, "_take", lambda _passing, _grant: True)
    async with yard(tmp_path) as y:
        invite = decode_invite(await y.mill.members.invite(y.mill.reachable_at))
        # What is left over is rounded up, once.
        crowd = [await y.outsider() for _ in range(CIRCUITS_PER_USE // CIRCUITS + 2)]
        carried = []
        for one in crowd:
            one.shown = as_shown(y, invite.relay_pass, one.network.peer_id, invite.secret)
            carried.append(await y.is_carried(one))
        assert all(carried) == (not defended)
        assert ("used often" in crowd[-1].refusal) == defended
