"""One command, one line of JSON: `sync-missing COUNT AUTHORS LACKING HOW SIDES`, given the program."""

from __future__ import annotations

import argparse
import hashlib
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.service.shape import Shape

ITEM = struct.Struct("<Q32s")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.negentropy")
    parser.add_argument("program", type=Path)
    parser.add_argument("command", choices=["sync-missing"])
    parser.add_argument("words", nargs=5)
    options = parser.parse_args()
    shape = Shape.of(options.words)
    with subprocess.Popen([options.program], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        # It asks as the far node does, which lacks something in every row.
        for side in (1, 0):
            for piece in a_set(shape, side):
                process.stdin.write(piece)
        process.stdin.close()
        return process.wait()


def a_set(shape: Shape, side: int) -> Iterator[bytes]:
    """What a side has, as the program reads it: times as the records' clocks have them, and ids like theirs."""
    more = shape.more(side)
    yield (shape.records + sum(more.values())).to_bytes(8, "little")
    for author in range(shape.authors):
        records = range(shape.share(author) + more.get(author, 0))
        yield b"".join(
            ITEM.pack(shape.time_ms(author, seq), hashlib.sha256(b"%d/%d" % (author, seq)).digest()) for seq in records
        )


if __name__ == "__main__":
    sys.exit(main())
