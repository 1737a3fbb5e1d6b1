"""Exports as JavaScript's IPLD libraries read them: not a line of ours has a say in whether they are right."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import IN_CI
from tests.unit.export_files import altered_lines, blocks_of, carrier, chain, file_of, imported, swapped_signatures
from tests.unit.membership_world import NOON_MS
from tests.unit.records_world import FEDERATION, TYPE, Author, Shelf
from tools.places import BUILD

from covm._native import decode
from covm.federation.sync import export
from covm.federation.wire.fork_proof import ForkProof, write_proof
from covm.federation.wire.record import Hlc

HERE = Path(__file__).resolve().parent
ASH, BIRCH = Author("ash"), Author("birch")

pytestmark = pytest.mark.skipif(
    not IN_CI and not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm"
)


@pytest.fixture(scope="module")
def reader() -> Path:
    """The program that reads, beside the libraries that it needs: installed once for what is locked."""
    locked = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    folder = BUILD / "interop" / locked[:16]
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, folder)
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        (folder / "installed").touch()
    for program in HERE.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder / "read_export.mjs"


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def told_by(reader: Path, *arguments: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("node", reader, *arguments, folder=reader.parent))
    return told


async def test_all_that_is_in_an_export_is_found_from_its_root_and_every_signature_holds(
    reader: Path, tmp_path: Path
) -> None:
    first = ASH.write("oven", {"grams": 1, "who": "Ä"})
    fork = [ASH.write("oven", number, after=first) for number in (2, 3)]
    gone = ASH.write("oven", op="delete", after=fork[1], on=[fork[1]])
    void = BIRCH.write("oven", [None, True, b"4", -5], hlc=Hlc(1, 0), on=[first])
    early = BIRCH.write("shelf", 2**63, after=void, hlc=Hlc(NOON_MS + 3_600_000, 0))
    records = [first, *fork, gone, void, early]
    bodies = [(BIRCH if each.author == BIRCH.key.peer_id else ASH).bodies[each.id] for each in records]
    shelf = await Shelf().open()
    await shelf.take(*records, bodies=bodies)
    made = await carrier(shelf).export(TYPE, tmp_path / "notes.car")
    await shelf.store.close()
    told = told_by(reader, tmp_path / "notes.car")
    assert (told["root"], told["covm"], told["type"]) == (made.root, "records", TYPE)
    assert told["federation"] == str(FEDERATION)
    assert [each["id"] for each in told["records"]] == [str(each.id) for each in records]
    assert {(each["author"], each["seq"], each["op"]) for each in told["records"]} == {
        (each.author, each.body.seq, each.body.op) for each in records
    }
    assert told["records"][0]["value"] == {"grams": 1, "who": "Ä"}
    assert told["records"][3]["value"] is None


async def test_the_same_blocks_as_another_tool_writes_them_are_imported(
    reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FANOUT", 3)
    records = chain(ASH, 40)
    (tmp_path / "notes.car").write_bytes(file_of(records, ASH.bodies, page=2))
    told = told_by(reader, tmp_path / "notes.car", tmp_path / "copy.car")
    assert len(told["records"]) == 40
    copied = (tmp_path / "copy.car").read_bytes()
    assert "pages" in decode(blocks_of(copied)[1].data), "the tree comes before its pages"
    shelf = await Shelf().open()
    assert (await imported(shelf, tmp_path / "copy.car")).new == 40
    await shelf.store.close()


def test_the_reader_itself_tells_a_signature_that_is_of_another_record(reader: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.car").write_bytes(altered_lines(chain(ASH, 2), ASH.bodies, swapped_signatures))
    command: list[str | Path] = ["node", reader, tmp_path / "notes.car"]
    done = subprocess.run(command, cwd=reader.parent, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode != 0
    assert "is not signed by who it says" in done.stderr


def test_the_proof_of_a_fork_convinces_somebody_who_has_nothing_of_ours(reader: Path, tmp_path: Path) -> None:
    start = ASH.write("oven", 0)
    one, other = (ASH.write("oven", number, after=start) for number in (1, 2))
    (tmp_path / "fork.car").write_bytes(write_proof(ForkProof(one, other)))
    told = told_by(reader.with_name("read_proof.mjs"), tmp_path / "fork.car")
    assert (told["author"], told["type"], told["seq"]) == (one.author, TYPE, 2)
    assert set(told["records"]) == {str(one.id), str(other.id)}
