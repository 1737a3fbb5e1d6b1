"""A node that says two things at one place, seen by hand, and proven to somebody who has no node."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.conftest import NodeStarter
from tests.cli.members import until
from tests.cli.processes import covm
from tests.cli.test_shared_data import NOTE, home, meet


def test_a_node_whose_store_was_copied_back_is_found_out_and_the_proof_is_carried_away(
    folder: Path, start: NodeStarter
) -> None:
    for name in ("mill", "farm"):
        home(folder, name)
    mill, farm = start("mill"), start("farm")
    meet(mill, farm)
    mill.run("records", "put", NOTE, "price", "250")
    assert farm.run("forks").out == "nobody has said two things at one place\n"
    assert "forks" not in farm.run("status").out
    assert mill.run("stop").code == 0
    shutil.copytree(folder / "mill", folder / "copy")
    mill = start("mill")
    meet(mill, farm)
    mill.run("records", "put", NOTE, "price", "280")
    until(lambda: farm.ask("sync")["replicas"][0]["records"] == 2)
    assert mill.run("stop").code == 0
    assert farm.run("stop").code == 0
    # Somebody copies the old store back, and the node goes on from there.
    shutil.rmtree(folder / "mill")
    shutil.copytree(folder / "copy", folder / "mill")
    mill = start("mill")
    mill.run("records", "put", NOTE, "price", "300")
    farm = start("farm")
    meet(farm, mill)
    until(lambda: farm.ask("status")["forkers"])
    peer = mill.ask("status")["peer_id"]
    assert farm.ask("status")["forkers"] == [{"peer_id": peer, "name": "Mill", "forks": 1}]
    assert "forks        1, by Mill (1); `covm federation forks` shows them" in farm.run("status").out
    [fork] = farm.ask("forks", "list")["forks"]
    assert (fork["author"], fork["type"], fork["seq"]) == (peer, NOTE, 2)
    short = fork["id"][7:15]
    assert short in farm.run("forks").out
    shown = farm.run("forks", "show", short)
    assert "280" in shown.out
    assert "300" in shown.out
    assert farm.ask("forks", "show", fork["id"])["fork"] == fork
    assert farm.run("forks", "export", short, folder / "proof.car").out == (
        f"wrote the proof against Mill ({peer}) to {folder}/proof.car\n"
    )
    assert farm.run("forks", "export", short, folder / "proof.car").code == 2
    assert mill.run("stop").code == 0
    assert farm.run("stop").code == 0
    # Nothing but the file.
    proven = covm("federation", "forks", "verify", folder / "proof.car", "--home", folder / "nobody")
    assert proven.code == 0, proven
    assert proven.out.startswith(f"{peer} signed two different records as number 2 of one log\n")
    assert all(each["id"] in proven.out for each in fork["records"])
    told = covm("federation", "forks", "verify", folder / "proof.car", "--json").json
    assert (told["author"], told["seq"], sorted(told["records"])) == (
        peer,
        2,
        sorted(each["id"] for each in fork["records"]),
    )


def test_what_is_no_fork_and_what_proves_nothing_is_said_with_an_exit_code(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    wrote = mill.ask("records", "put", NOTE, "oven", "1")
    assert mill.run("forks", "show", wrote["written"]["id"]).code == 4
    assert mill.run("forks", "export", "x\x1b[31m", folder / "proof.car").code == 4
    assert mill.run("forks", "export", "x", folder / "no" / "proof.car").code == 4
    assert mill.run("export", NOTE, folder / "notes.car").code == 0
    nothing = covm("federation", "forks", "verify", folder / "notes.car")
    assert (nothing.code, "proves nothing: at byte" in nothing.err) == (1, True)
    assert covm("federation", "forks", "verify", folder).code == 1
    assert covm("federation", "forks", "verify", folder / "nothing.car").code == 4
