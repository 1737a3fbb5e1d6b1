"""Two programs that know each other, on homes of their own; what a test does to them, and what became of it all."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
from tests.crashes.ledger import Sent, events, lines, plain_effects, seen_events
from tests.crashes.program import Settings, live
from tests.crashes.promises import Way, problems
from tests.forked import PROCESSES

from covm.federation import Identity

PATIENCE_S = 60.0
"""What does not come for this long does not come."""

LOOK_EVERY_S = 0.01


Life = Callable[[Path, socket.socket], None]
"""What a process does, given its settings and the test's end of a socket."""


class Node:
    """A program over all its lives. Its folder keeps its home, its notes and what it wrote to standard error."""

    def __init__(self, settings: Settings, life: Life = live) -> None:
        self.settings = settings
        self._live = life
        self.folder, self.home = Path(settings.folder), Path(settings.home)
        self.process: BaseProcess | None = None
        self.lives = 0
        self._socket: socket.socket | None = None
        self._said = b""

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def launch(self) -> None:
        """Begins a life; `wait_ready` tells when it takes part."""
        self.lives += 1
        path = self.folder / "settings.json"
        path.write_bytes(msgspec.json.encode(self.settings))
        self._said = b""
        self._socket, theirs = socket.socketpair()
        self.process = PROCESSES.Process(target=self._live, args=(path, theirs))
        self.process.start()
        theirs.close()

    def wait_ready(self) -> None:
        assert "ready" in self._line()

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Has the program do something, and returns what it answers."""
        assert self._socket is not None
        self._socket.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
        return self._line()

    def kill(self) -> None:
        """SIGKILL: nothing of the program runs any more."""
        if self.process is not None:
            self.process.kill()
        self._ended()

    def stop(self) -> None:
        """The proper end."""
        assert self._socket is not None
        self._socket.shutdown(socket.SHUT_WR)
        assert self._ended() == 0, self.log

    def snapshot(self, target: Path) -> None:
        """Copies the home as a snapshot of the machine would: all files at one moment."""
        assert self.process is not None
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            while not _state(self.process.pid).startswith("T"):
                time.sleep(LOOK_EVERY_S)
            shutil.copytree(self.home, target)
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def noted(self) -> int:
        """How many effects of its plain handler it has noted: it grows while the node receives."""
        return len(lines(self.folder / "plain"))

    def plain_effects(self) -> list[tuple[int, int]]:
        """Number and attempt of each."""
        return plain_effects(self.folder)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in events(self.folder) if event["event"] == kind]

    def _ended(self) -> int | None:
        """The exit code, once there is one."""
        code = None
        if self.process is not None and self._socket is not None:
            self.process.join(PATIENCE_S)
            code = self.process.exitcode
            self.process.close()
            self._socket.close()
        self.process = self._socket = None
        return code

    def _line(self) -> dict[str, Any]:
        assert self._socket is not None
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._said:
            readable, _, _ = select.select([self._socket], [], [], max(deadline - time.monotonic(), 0))
            chunk = self._socket.recv(1 << 20) if readable else b""
            assert chunk, f"{self.settings.name} says nothing: {self.log[-4000:]}"
            self._said += chunk
        line, _, self._said = self._said.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _state(process: int) -> str:
    """As `ps` tells it: T for one that is stopped."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=True)
    return told.stdout.strip()


@dataclass(frozen=True)
class Forgotten:
    """What a restored backup may have cost, by the sender's name: numbers of messages, and of those answered."""

    effects: dict[str, range]
    answers: dict[str, range]


@dataclass
class Pair:
    """Two nodes that send to each other."""

    mill: Node
    farm: Node

    @classmethod
    def make(cls, place: Path, life: Life = live, **changes: Mapping[str, Any]) -> Pair:
        """Two nodes that have not lived yet; `changes` are settings by the node's name."""
        names = ("mill", "farm")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        folders = {name: place / name for name in names}
        homes = {name: Path(changes.get(name, {}).get("home", folders[name] / "home")) for name in names}
        ids = {}
        for name in names:
            folders[name].mkdir(parents=True)
            homes[name].mkdir(mode=0o700, parents=True, exist_ok=True)
            ids[name] = Identity.load_or_create(homes[name] / "identity.key").peer_id
        nodes = []
        for name, other in (names, names[::-1]):
            fields: dict[str, Any] = {
                "folder": str(folders[name]),
                "home": str(homes[name]),
                "name": name,
                "port": ports[name],
                "peer": ids[other],
                "peer_address": f"/ip4/127.0.0.1/tcp/{ports[other]}/p2p/{ids[other]}",
            }
            nodes.append(Node(Settings(**fields | dict(changes.get(name, {}))), life))
        return cls(*nodes)

    @property
    def both(self) -> tuple[Node, Node]:
        return self.mill, self.farm

    def other(self, node: Node) -> Node:
        return self.farm if node is self.mill else self.mill

    def start(self, *, load: bool = True) -> None:
        """Starts both, and has them send."""
        self.launch(*self.both, load=load)

    def launch(self, *nodes: Node, load: bool = True) -> None:
        """Starts these side by side; returns when they are ready and send."""
        for node in nodes:
            node.launch()
        for node in nodes:
            node.wait_ready()
            if load:
                node.ask("load")

    def end(self) -> None:
        for node in self.both:
            node.kill()

    def wait(self, condition: Callable[[], object], what: str, *living: Node) -> None:
        """Until it holds; fails when it does not, or when a node (one of `living`, if given) has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            for node in living or self.both:
                assert node.is_alive, f"{node.settings.name} ended: {node.log[-4000:]}"
            assert time.monotonic() < deadline, f"{what} did not come; {self.told()}"
            time.sleep(LOOK_EVERY_S)

    def wait_progress(self, *receivers: Node, effects: int = 1) -> None:
        """Until each of these has handled so many more plain messages."""
        wanted = {id(node): node.noted() + effects for node in receivers}
        self.wait(lambda: all(node.noted() >= wanted[id(node)] for node in receivers), "new effects")

    def settle(self) -> None:
        """No more is sent; what is queued arrives; last messages through every lane arrive behind all others."""
        for node in self.both:
            node.ask("pause")
        for node in self.both:
            node.ask("sentinels")

    def way(self, sender: Node, forgotten: Forgotten) -> Way:
        """One direction, as both have noted it."""
        receiver = self.other(sender)
        done = receiver.ask("effects")
        return Way(
            Sent.read(sender.folder),
            receiver.plain_effects(),
            [(number, attempt) for number, attempt in done["exact"]],
            sender.ask("effects")["answers"],
            forgotten.effects.get(sender.settings.name, range(0)),
            forgotten.answers.get(sender.settings.name, range(0)),
        )

    def problems(self, forgotten: Forgotten | None = None) -> dict[str, list[str]]:
        """Promises that do not hold, by sender, once all has arrived that will."""
        forgotten = forgotten or Forgotten({}, {})
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = {node.settings.name: problems(self.way(node, forgotten)) for node in self.both}
            # Answers to the last messages travel behind them.
            if not any(found.values()) or time.monotonic() > deadline:
                return {name: told for name, told in found.items() if told}
            time.sleep(LOOK_EVERY_S)

    def told(self) -> str:
        """For a failure: what each has noted."""
        return "; ".join(
            f"{node.settings.name}: {len(lines(node.folder / 'sent'))} notes of sending, {node.noted()} plain effects, "
            f"events {dict(seen_events(node.folder))}"
            for node in self.both
        )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
