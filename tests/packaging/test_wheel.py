"""The wheel runs where there is no Rust and no source, and carries nothing that only development has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKED = ROOT / "requirements" / "runtime.txt"

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The wheel of these sources: `make test` and `make wheel` build one and name it."""
    if given := os.environ.get("HOUSE_WHEEL"):
        return Path(given)
    if os.environ.get("CI"):
        pytest.fail("no wheel in HOUSE_WHEEL: `make test` builds one, and CI must try it")
    pytest.skip("no wheel in HOUSE_WHEEL: `make test` builds one")


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and what is locked for running it, and nothing else."""
    home = tmp_path_factory.mktemp("elsewhere")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(home / "venv")
    python = str(home / "venv" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    for what in (["--require-hashes", "-r", str(LOCKED)], ["--no-deps", str(wheel)]):
        done = subprocess.run([*pip, *what], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return home


def run_elsewhere(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program of that environment from an unrelated folder, with no other program in reach."""
    folder = home / "unrelated"
    folder.mkdir(exist_ok=True)
    env = {"PATH": str(home / "venv" / "bin"), "HOME": str(folder), "LANG": "C.UTF-8"}
    assert not any(shutil.which(tool, path=env["PATH"]) for tool in ("cargo", "rustc", "cc"))
    program = str(home / "venv" / "bin" / argv[0])
    return subprocess.run(
        [program, *argv[1:]], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_one_wheel_serves_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name


def test_the_wheel_holds_the_package_its_types_and_one_native_module(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".so")] == ["covm/_native.abi3.so"]
    assert {"covm/py.typed", "covm/_native.pyi"} <= set(names)
    assert all(name.startswith(("covm/", "covm-")) for name in names)
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_every_module_of_the_source_tree_is_in_the_wheel(wheel: Path) -> None:
    source = ROOT / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert modules <= set(zipfile.ZipFile(wheel).namelist())


def test_the_package_is_imported_from_the_wheel_and_not_from_the_sources(elsewhere: Path) -> None:
    done = run_elsewhere(
        elsewhere, "python", "-c", "import covm._native, covm.federation; print(covm._native.__file__)"
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(elsewhere)


def test_the_demo_runs_from_an_unrelated_folder_without_rust(elsewhere: Path) -> None:
    done = run_elsewhere(elsewhere, "covm", "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0 < len(done.stdout.splitlines()) <= 15
    assert not any((elsewhere / "unrelated").iterdir()), "the demo left something behind"
