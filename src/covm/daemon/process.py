"""The life of a node's process: make ready, say so once, answer until told to stop, leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from covm.control.home import config_path, key_path, prepare_home, socket_path
from covm.daemon import home_key, journal, logs
from covm.daemon.node import RunningNode
from covm.daemon.routes import control_app
from covm.daemon.server import ControlServer
from covm.federation import EventStream, FederationConfig, FederationService, Identity
from covm.governance import Proposal

logger = logging.getLogger("covm.daemon")

TYPES = (Proposal,)
"""Application types that every node of the command line knows."""

PRIVATE_MESSAGE = "private.message"
"""The type of a message from one node's people to another's, with no form of its own."""

RECEIVED = ("governance.proposal", PRIVATE_MESSAGE)
"""Types whose messages are held for reading, besides those that the operator names."""


def run(
    home: Path,
    options: Mapping[str, Any],
    received: Sequence[str],
    ready: Callable[[RunningNode], None],
    identity_made: Callable[[Identity], None],
    *,
    passphrase: str | None = None,
    ask: Callable[[], str] | None = None,
) -> None:
    """Runs a node on `home` until SIGTERM, SIGINT or a request stops it.

    `options` go over the configuration's file and environment; `received` are further types to hold for reading.
    `ready` is called once everything answers, `identity_made` when the home had no key. `passphrase` opens the key, and
    encrypts one that is made; `ask` gives it where it is needed and none was given. Raises `UnusableHome`, what `ask`
    raises, and what the federation raises when the node cannot run (`ConfigError`, `HomeInUse`, `IdentityError`,
    `NodeFailed` ...).
    """
    prepare_home(home)
    config = load_config(home, options)
    logs.configure(config.log_level)
    fresh = not key_path(home).exists()
    identity = home_key.obtain(home, passphrase, ask)
    if fresh:
        identity_made(identity)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_live(home, identity, config, (*RECEIVED, *received), ready))


def load_config(home: Path, options: Mapping[str, Any]) -> FederationConfig:
    """The configuration of a node on `home`. Raises `ConfigError` with every problem."""
    file = config_path(home)
    return FederationConfig.load(file if file.exists() else None, options={**options, "home": str(home)})


async def _live(
    home: Path,
    identity: Identity,
    config: FederationConfig,
    received_types: Sequence[str],
    ready: Callable[[RunningNode], None],
) -> None:
    service = FederationService(identity, config, types=TYPES)
    # From before the start, so that nothing that happens during it is missed, the core's end least of all.
    happenings = service.events()
    node = RunningNode(service, identity.did_key, home, tuple(dict.fromkeys(received_types)))
    with _stopped_by_signals(node.stopping):
        async with service:
            await node.open()
            for type_name in node.received_types:
                service.subscribe(type_name, node.received.take, name="messages", transactional=True)
            await _answer(node, happenings, ready)


async def _answer(node: RunningNode, happenings: EventStream, ready: Callable[[RunningNode], None]) -> None:
    watch = asyncio.create_task(journal.keep(happenings, node.hear), name="journal")
    asked = asyncio.create_task(node.stopping.wait(), name="stop requested")
    try:
        async with ControlServer(control_app(node), socket_path(node.home)) as server:
            ready(node)
            await asyncio.wait({watch, asked}, return_when=asyncio.FIRST_COMPLETED)
            logger.info("stopping")
            server.hide()
            node.stopping.set()
            await node.close()
            await node.service.stop()
            node.stopped.set()
        await watch
    finally:
        watch.cancel()
        asked.cancel()


@contextlib.contextmanager
def _stopped_by_signals(stopping: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops in order; the second does what it does to any program."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop() -> None:
        stopping.set()
        for each in signals:
            loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
