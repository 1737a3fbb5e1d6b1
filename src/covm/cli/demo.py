"""`covm demo`: two nodes as two processes, and the main job done between them, in front of your eyes."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from covm.cli.demo_proposal import PROPOSAL
from covm.cli.interruptions import Interrupted, Interruptions
from covm.cli.message_argument import decoded_json, read_file
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, say, say_json
from covm.control.failures import Invalid
from covm.control.home import UnusableHome, socket_path
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.cli.demo_node import DemoNode

NAMES = ("Mill Bakery", "Riverside Farm")

_FIELDS = "a proposal is an object with id, title, description, author, options, created_at"


class Told(Versioned, kw_only=True, frozen=True):
    """The demonstration's story, for programs: its lines and how long it took."""

    lines: list[str]
    elapsed_ms: float


def demo(*, proposal: Path | None = None, common: Common = DEFAULT) -> int:
    """Show what covm does: two nodes on this machine, a proposal published by one and received by the other.

    Both are processes with homes of their own in a temporary folder, on loopback. The first founds a federation and
    invites the second, which joins. After the proposal one sends the other a direct message and shows the
    acknowledgement, and both stop. Nothing is left behind, also after Ctrl-C.

    Parameters
    ----------
    proposal
        A JSON file with the proposal to publish. Its fields: id, title, description, author, options, created_at
        (milliseconds), metadata.
    """
    content = PROPOSAL if proposal is None else _proposal_from(proposal)
    began = time.monotonic()
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        if not common.json:
            say(line)

    try:
        with Interruptions() as interruptions:
            _run(content, tell, interruptions, began)
    except Interrupted as interrupted:
        note("covm: interrupted; both nodes have stopped, and nothing is left behind")
        return interrupted.exit_code
    if common.json:
        say_json(Told(lines=lines, elapsed_ms=round((time.monotonic() - began) * 1000, 1)))
    return 0


def _run(content: dict[str, Any], tell: Any, interruptions: Interruptions, began_s: float) -> None:
    from covm.cli.demo_node import DemoNode
    from covm.cli.story import Story

    nodes: list[DemoNode] = []
    folder = _folder()
    try:
        for name, home in zip(NAMES, ("a", "b"), strict=True):
            nodes.append(DemoNode(name, folder / home, interruptions))
        with interruptions.allowed():
            Story(nodes[0], nodes[1], tell).tell_all(content)
    finally:
        for node in nodes:
            node.end()
        shutil.rmtree(folder)
    interruptions.check()
    tell(f"Both nodes have stopped, and nothing is left behind. It took {time.monotonic() - began_s:.1f} s.")


def _folder() -> Path:
    """A temporary folder whose path is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="covm-demo-"))
    try:
        socket_path(folder / "a")
    except UnusableHome:
        folder.rmdir()
        return Path(tempfile.mkdtemp(prefix="covm-demo-", dir="/tmp"))
    return folder


def _proposal_from(file: Path) -> dict[str, Any]:
    text = read_file(file, otherwise="name another with --proposal, or leave --proposal out")
    try:
        content = decoded_json(text, str(file))
    except msgspec.DecodeError as error:
        raise Invalid(f"{file} is not JSON: {error}; {_FIELDS}", code="not_json") from error
    if not isinstance(content, dict):
        raise Invalid(f"{file} holds no JSON object; {_FIELDS}")
    return content
