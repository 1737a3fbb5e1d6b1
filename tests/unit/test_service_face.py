"""The public names: all there, all documented, loaded when they are used."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.service_world import world

import covm.federation
from covm.federation import FederationService, Identity
from covm.federation.errors import NotStarted

HEAVY = ("sqlalchemy", "rich", "starlette", "structlog", "cyclopts", "covm._native")

OTHER = Identity.from_seed(bytes(32)).peer_id

NEEDS_A_RUNNING_NODE: dict[str, Callable[[FederationService], Awaitable[object]]] = {
    "publish": lambda node: node.publish("shop.note", "rye"),
    "send_direct": lambda node: node.send_direct(OTHER, "shop.note", "rye"),
    "receipt": lambda node: node.receipt("00" * 16),
    "transaction": lambda node: node.transaction(lambda tx: tx.execute("SELECT 1").scalar()),
    "send_file": lambda node: node.send_file(OTHER, __file__),
    "replicas": lambda node: node.replicas(),
    "request_sync": lambda node: node.request_sync("shop.note"),
    "connect_peer": lambda node: node.connect_peer(f"/ip4/127.0.0.1/tcp/1/p2p/{OTHER}"),
    "disconnect_peer": lambda node: node.disconnect_peer(OTHER),
    "ping_peer": lambda node: node.ping_peer(OTHER),
    "ban_peer": lambda node: node.ban_peer(OTHER),
    "unban_peer": lambda node: node.unban_peer(OTHER),
}


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = f"import sys, covm.federation; print([name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("name", covm.federation.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(covm.federation, name))
    assert name in dir(covm.federation)


def test_the_table_of_names_is_the_list_of_names() -> None:
    assert sorted(covm.federation._HOMES) == sorted(covm.federation.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        covm.federation.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", [name for name in vars(FederationService) if not name.startswith("_")])
def test_every_part_of_the_service_says_what_it_promises(name: str) -> None:
    assert inspect.getdoc(getattr(FederationService, name))


@pytest.mark.parametrize("name", NEEDS_A_RUNNING_NODE)
async def test_what_needs_a_running_node_says_so_before_start_and_after_stop(name: str) -> None:
    async with world() as w:
        node = w.make("ada")
        with pytest.raises(NotStarted):
            await NEEDS_A_RUNNING_NODE[name](node)
        async with node:
            pass
        with pytest.raises(NotStarted):
            await NEEDS_A_RUNNING_NODE[name](node)
        assert (node.bans(), node.peers(), node.gossip_log()) == ([], [], [])


def test_no_command_is_left_out_of_that() -> None:
    asynchronous = {name for name, part in vars(FederationService).items() if inspect.iscoroutinefunction(part)}
    public = {name for name in asynchronous if not name.startswith("_")}
    assert public - set(NEEDS_A_RUNNING_NODE) == {"start", "stop"}
