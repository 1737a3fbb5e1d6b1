"""The `covm` command. `main` is its entry; `covm --help` is its manual.

`app` is the tree of commands; each group is a file of its own that is loaded when one of its commands is called:
`initialise`, `identity`, `configuration`, `store`, `demo` with its `story`, `versions`, and under `covm federation`:
`lifecycle`, `peers` with `peer_details`, `bans`, `messages`, `sending`, `outbox`, `inbox`, `quarantine`, `files`,
`logs`, `statistics`. All of them stand on `covm.control` and load the federation, the node's core and the tables'
drawing only when they need them, so that a command answers at once.

`options` are those that every command has, `output` says answers and errors, `rendering` draws tables, `exits` are the
exit codes, `message_argument`, `passphrases`, `key_passphrase` and `durations` read what is typed.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command that the process was given, and exits with its code (see `covm.cli.exits`); never returns."""
    try:
        from covm.cli.app import run

        code = int(run(sys.argv[1:]))
    except KeyboardInterrupt:
        # While the command is still being loaded there is nothing yet that could say it.
        sys.stderr.write("covm: interrupted\n")
        code = 130
    sys.exit(code)
