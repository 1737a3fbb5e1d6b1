"""A machine whose resolver never answers: `python -m tests.silent_names PROGRAM ARGUMENT...`, as root.

The program runs in namespaces of its own, with a loopback, where all names are asked of a socket that nobody reads.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

RESOLVER = "127.0.0.53"


def command(*argv: str) -> list[str]:
    """How to run a program on such a machine."""
    return ["unshare", "--mount", "--net", sys.executable, "-m", "tests.silent_names", *argv]


def main(argv: list[str]) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unread:
        unread.bind((RESOLVER, 53))
        settings = Path(place, "resolv.conf")
        settings.write_text(f"nameserver {RESOLVER}\n")
        subprocess.run(["mount", "--bind", settings, "/etc/resolv.conf"], check=True)
        try:
            return subprocess.run(argv, check=False).returncode
        finally:
            subprocess.run(["umount", "/etc/resolv.conf"], check=True)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
