"""Tables on a real terminal: whatever its width, ids and addresses can be copied out of them."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest
from tests.cli.processes import COVM, Node, environment

REASON = "noisy " * 40


def on_terminal(columns: int, node: Node, *arguments: str) -> list[str]:
    """The lines that a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in environment(TERM="xterm").items() if name not in ("COLUMNS", "LINES")}
    command = [*COVM, "federation", *arguments, "--home", str(node.home)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=kept) as running:
        os.close(theirs)
        printed = b""
        try:
            while chunk := os.read(ours, 65536):
                printed += chunk
        except OSError:
            pass  # the other side is closed: that is how a terminal ends
        finally:
            os.close(ours)
    assert running.returncode == 0, printed
    return printed.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()


@pytest.mark.parametrize("columns", [20, 60, 100])
def test_on_a_narrow_terminal_each_peer_is_a_block_and_its_address_in_one_piece(
    neighbours: tuple[Node, Node], columns: int
) -> None:
    bakery, farm = neighbours
    lines = on_terminal(columns, bakery, "peers")
    assert f"PEER ID     {farm.peer_id}" in lines
    [address] = [line for line in lines if line.startswith("ADDRESS")]
    assert address.split()[1] in bakery.ask("peers")["peers"][0]["addresses"]


def test_on_a_wide_terminal_each_peer_is_a_line(neighbours: tuple[Node, Node]) -> None:
    bakery, farm = neighbours
    head, line = on_terminal(250, bakery, "peers")
    named = ["NAME", "PEER ID", "STATE", "ROUND TRIP", "QUEUED", "WAY", "ADDRESS", "WHY", "LAST ERROR", "NEXT TRY"]
    assert head.split() == " ".join(named).split()
    assert farm.peer_id in line


def test_a_long_reason_is_shortened_in_tables_and_whole_in_json(shop: Node) -> None:
    stranger = "12D3KooWAnbduJvaiCWzYZGkh6x5NHkfxaJyHKtcUKbYGoTfNhXL"
    shop.ask("ban", stranger, "--reason", REASON)
    try:
        for command in ("bans", "peers"):
            lines = [line for line in shop.run(command).out.splitlines() if stranger in line]
            assert [line for line in lines if line.endswith("…") and len(line) < 180]
            assert any(stranger in line for line in on_terminal(200, shop, command))
        [ban] = shop.ask("bans")["bans"]
        assert ban["reason"] == REASON
        [peer] = shop.ask("peers")["peers"]
        assert peer["why"] == REASON
    finally:
        shop.ask("unban", stranger)


def test_a_line_of_several_words_is_folded_between_them(shop: Node) -> None:
    lines = on_terminal(60, shop, "types")
    assert max(map(len, lines[:-1])) <= 60
    assert all(any(word in line.split() for line in lines) for word in ("title,", "author,", "created_at"))
