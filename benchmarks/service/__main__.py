"""One command, one line of JSON: `connect RUNS`, `gossip NODES MESSAGES RATE` and `gossip-members`, `codec COUNT`;
`serve`, which prints its address first, with `direct ADDRESS MESSAGES WINDOW` or `chunks ADDRESS COUNT` in another
process; `serve-durable HANDLER`, likewise, with `durable ADDRESS MESSAGES WINDOW UNTIL`; `backlog COUNT END`, which
starts its own; `membership-verify MEMBERS ENTRIES`, `membership-access COUNT MEMBERS`, `membership-removal NODES`;
`sync-first COUNT AUTHORS`, `sync-missing COUNT AUTHORS LACKING`, `sync-written COUNT WINDOW`."""

from __future__ import annotations

import argparse
import cProfile
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from benchmarks.service import backlog, codec, connect, direct, durable, gossip, membership, replicas
from benchmarks.service.figures import Figures
from benchmarks.service.running import run

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
    "sync-missing": lambda count, authors, lacking: replicas.missing(int(count), int(authors), int(lacking)),
    "sync-written": lambda count, window: replicas.written(int(count), int(window)),
    "membership-removal": lambda nodes: membership.removal(int(nodes)),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("--loop", choices=["auto", "asyncio"], default="auto")
    parser.add_argument("--profile", type=Path, metavar="FOLDER")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    command = COMMANDS[options.command](*options.words)
    if options.profile:
        profile = cProfile.Profile()
        figures = profile.runcall(run, command, options.loop)
        profile.dump_stats(options.profile / f"{options.command}.prof")
    else:
        figures = run(command, options.loop)
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
