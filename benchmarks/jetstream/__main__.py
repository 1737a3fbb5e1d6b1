"""One command, one line of JSON: `publish COUNT WINDOW BYTES` or `consume COUNT WINDOW BYTES`, given the server."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

from benchmarks.jetstream import client
from benchmarks.jetstream.server import running
from benchmarks.service.running import run

COMMANDS = {"publish": client.publish, "consume": client.consume}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jetstream")
    parser.add_argument("--loop", choices=["auto", "asyncio"], default="auto")
    parser.add_argument("program", type=Path)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("count", type=int)
    parser.add_argument("window", type=int)
    parser.add_argument("size_bytes", type=int)
    options = parser.parse_args()
    with running(options.program) as server:
        work = COMMANDS[options.command](server, options.count, options.window, options.size_bytes)
        figures = run(work, options.loop)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures["cpu_s"] += ended.ru_utime + ended.ru_stime
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
