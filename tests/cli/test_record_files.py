"""Records that are carried from one node to another in a file, typed by hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pysqlite3
from tests.cli.conftest import NodeStarter
from tests.cli.processes import covm
from tests.cli.test_shared_data import NOTE, home, value


def test_what_one_node_has_is_carried_to_another_that_it_never_met(folder: Path, start: NodeStarter) -> None:
    for name in ("mill", "farm"):
        home(folder, name)
    mill = start("mill")
    for key in ("oven", "bread", "van"):
        assert mill.run("records", "put", NOTE, key, "1").code == 0
    wrote = mill.run("export", NOTE, folder / "notes.car")
    assert wrote.code == 0, wrote
    assert wrote.out.startswith(f"exported 3 records of {NOTE} to {folder}/notes.car, ")
    assert "its root is bafyrei" in wrote.out
    again = mill.ask("export", NOTE, folder / "notes.car")
    assert (again["records"], again["root"] in wrote.out) == (3, True)
    assert mill.run("stop").code == 0
    farm = start("farm")
    read = farm.run("import", folder / "notes.car")
    assert read.out == f"imported 3 records of {NOTE} from {folder}/notes.car, all of them new\n"
    assert value(farm, "van") == 1
    assert "all 3 records were here already" in farm.run("import", folder / "notes.car").out
    farm.run("records", "put", NOTE, "shelf", "2")
    assert farm.ask("export", NOTE, folder / "more.car")["records"] == 4
    assert covm("federation", "export", NOTE, folder / "x.car", "--home", folder / "mill").code == 3


def test_values_that_were_lost_come_again_from_a_file(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    for key in ("oven", "bread"):
        assert mill.run("records", "put", NOTE, key, "1").code == 0
    assert mill.run("export", NOTE, folder / "notes.car").code == 0
    assert mill.run("stop").code == 0
    with closing(pysqlite3.connect(str(folder / "mill" / "store.db"))) as store:
        store.execute("UPDATE covm_records SET body = NULL WHERE key = 'oven'")
        store.commit()
    mill = start("mill")
    read = mill.run("import", folder / "notes.car")
    assert "all 2 records were here already\n1 record that was here without a value has it now\n" in read.out
    assert value(mill, "oven") == 1
    assert mill.ask("import", folder / "notes.car")["completed"] == 0


def test_what_cannot_be_exported_or_imported_is_said_with_an_exit_code(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    mill.run("records", "put", NOTE, "oven", "1")
    assert mill.run("export", "shop.other", folder / "other.car").code == 4
    assert mill.run("export", NOTE, folder / "no" / "notes.car").code == 4
    assert mill.run("export", "no type", folder / "notes.car").code == 2
    (folder / "letter").write_text("dear all")
    kept = mill.run("export", NOTE, folder / "letter")
    assert (kept.code, "something else" in kept.err) == (2, True)
    assert mill.run("import", folder / "nothing.car").code == 4
    assert mill.run("import", folder).code == 2
    wrong = mill.run("import", folder / "letter")
    assert (wrong.code, "at byte 0: this is no CAR file" in wrong.err) == (2, True)
    assert mill.run("export", NOTE, folder / "notes.car").code == 0
    data = (folder / "notes.car").read_bytes()
    (folder / "notes.car").write_bytes(data[:-1])
    cut = mill.run("import", folder / "notes.car", "--json")
    assert (cut.code, cut.error["code"]) == (2, "broken_export")
    assert 0 < cut.error["details"]["offset"] < len(data)
    assert "bytes are there; nothing of it was taken" in cut.error["message"]
