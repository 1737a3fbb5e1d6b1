"""One command, one line of JSON: `connect RUNS`, `gossip NODES MESSAGES RATE` and `gossip-members`, `codec COUNT`;
`serve`, which prints its address first, with `direct ADDRESS MESSAGES WINDOW` or `chunks ADDRESS COUNT` in another
process; `serve-durable HANDLER`, likewise, with `durable ADDRESS MESSAGES WINDOW UNTIL`; `backlog COUNT END`, which
starts its own; `membership-verify MEMBERS ENTRIES`, `membership-access COUNT MEMBERS`, `membership-removal NODES`;
`sync-first COUNT AUTHORS`, `sync-missing COUNT AUTHORS LACKING HOW SIDES` and `sync-healed NODES COUNT`, which start
their own; `sync-written COUNT WINDOW`; `serve-sync` with `sync-told ADDRESS COUNT` in another process;
`reconnect-killed RUNS`, `reconnect-restarted RUNS`, `reconnect-partitioned SECONDS` and
`strangers NODES MESSAGES RATE COUNT`, which start their own; `punch TRANSLATION TRANSPORT RUNS`, likewise, as root;
`found NODES WAY`; `idle PEERS SECONDS`, which starts its own."""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from benchmarks.service import (
    backlog,
    codec,
    connect,
    direct,
    durable,
    found,
    gossip,
    halves,
    idle,
    lives,
    membership,
    punching,
    reconnecting,
    replica,
    replicas,
    strangers,
)
from benchmarks.service.figures import Figures
from benchmarks.service.running import run
from benchmarks.service.shape import Shape

Command = Callable[..., Coroutine[None, None, Figures]]

COMMANDS: dict[str, Command] = {
    "connect": lambda runs: connect.connect(int(runs)),
    "gossip": lambda nodes, messages, rate: gossip.gossip(int(nodes), int(messages), int(rate)),
    "gossip-members": lambda nodes, messages, rate: gossip.gossip_of_members(int(nodes), int(messages), int(rate)),
    "codec": lambda count: codec.codec(int(count)),
    "serve": direct.serve,
    "direct": lambda address, messages, window: direct.acknowledged(address, int(messages), int(window)),
    "chunks": lambda address, count: direct.chunks(address, int(count)),
    "serve-durable": durable.serve,
    "durable": lambda address, messages, window, until: durable.send(address, int(messages), int(window), until),
    "backlog": lambda count, end: backlog.backlog(int(count), end),
    "backlog-fill": lambda home, address, count: backlog.fill(home, address, int(count)),
    "backlog-drain": backlog.drain,
    "backlog-peer": backlog.peer,
    "membership-verify": lambda count, entries: membership.verify(int(count), int(entries)),
    "membership-access": lambda count, among: membership.access(int(count), int(among)),
    "sync-first": lambda count, authors: replicas.first(int(count), int(authors)),
    "sync-missing": lambda *words: replicas.missing(Shape.of(list(words))),
    "sync-healed": lambda nodes, count: halves.healed(int(nodes), int(count)),
    "half": lambda nodes, count, which: halves.half(int(nodes), int(count), int(which)),
    "replica": replica.replica,
    "serve-sync": replicas.serve,
    "sync-told": lambda address, count: replicas.tell(address, int(count)),
    "sync-written": lambda count, window: replicas.written(int(count), int(window)),
    "reconnect-killed": lambda runs: reconnecting.killed(int(runs)),
    "reconnect-restarted": lambda runs: reconnecting.restarted(int(runs)),
    "reconnect-partitioned": lambda seconds: reconnecting.partitioned(int(seconds)),
    "neighbour": reconnecting.neighbour,
    "strangers": lambda *words: strangers.strangers(*map(int, words)),
    "knock": lambda count, *addresses: strangers.knock(int(count), *addresses),
    "punch": lambda translation, transport, runs: punching.punch(translation, transport, int(runs)),
    "house": punching.house,
    "membership-removal": lambda nodes: membership.removal(int(nodes)),
    "found": lambda nodes, way: found.found(int(nodes), way),
    "idle": lambda peers, seconds: idle.idle(int(peers), int(seconds)),
    "idle-node": idle.idle_node,
    "idle-peers": lambda address, count: idle.idle_peers(address, int(count)),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("--loop", choices=["auto", "asyncio"], default="auto")
    parser.add_argument("--profile", type=Path, metavar="FOLDER")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    lives.options = ["--loop", options.loop, *(["--profile", str(options.profile)] if options.profile else [])]
    command = COMMANDS[options.command](*options.words)
    if options.profile:
        profile = cProfile.Profile()
        figures = profile.runcall(run, command, options.loop)
        profile.dump_stats(options.profile / f"{options.command}-{os.getpid()}.prof")
    else:
        figures = run(command, options.loop)
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
