"""THREATS.md, row *supply*: a dependency with a known hole, an unlocked version, an unexpected licence.

`make check` and the set-up refuse each. Where a checking program is needed, it is run on a doctored copy; the services
that know the holes are not asked here, so what they would answer is put into their programs' mouths.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from tools import cargo_deny, check

ROOT = Path(__file__).resolve().parents[2]
LOCKED = ("runtime.txt", "dev.txt")
CRATES = "registry+https://github.com/rust-lang/crates.io-index"
"""How Cargo names the one public registry, in lock files only; it says nothing of where a machine fetches from."""

PINNED = re.compile(r"[A-Za-z0-9][\w.\[\]-]*==[\w.!+-]+( *;[^#]*?)?( --hash=sha256:[0-9a-f]{64})+")


def tracked() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in said.splitlines() if (path := ROOT / name).is_file()]


def unlocked(text: str) -> list[str]:
    """The requirements that are not one exact version with its hashes, and options that fetch from elsewhere."""
    plain = re.sub(r"(^|\s)#.*", "", text).replace("\\\n", " ")
    lines = (re.sub(r"\s+", " ", line).strip() for line in plain.splitlines())
    return [line for line in lines if line and not PINNED.fullmatch(line)]


# --- an unlocked version: Python


@pytest.mark.parametrize("name", LOCKED)
def test_every_python_package_is_one_version_with_its_hashes(name: str) -> None:
    assert unlocked((ROOT / "requirements" / name).read_text()) == []


@pytest.mark.parametrize("name", LOCKED)
def test_everything_that_is_asked_for_is_locked(name: str) -> None:
    asked = (ROOT / "requirements" / name).with_suffix(".in").read_text()
    locked = (ROOT / "requirements" / name).read_text().lower()
    names = re.findall(r"^([A-Za-z0-9_.-]+)[<>=~;]", asked, re.MULTILINE)
    assert names
    assert not [each for each in names if f"\n{each.lower().replace('_', '-')}==" not in locked]


DOCTORED = {
    "no hash": ("anyio==4.0 \\\n    --hash=sha256:" + "0" * 64, "anyio==4.0"),
    "a range": ("anyio==4.0", "anyio>=4.0"),
    "a weak hash": ("--hash=sha256:" + "0" * 64, "--hash=md5:" + "0" * 32),
    "a short hash": ("--hash=sha256:" + "0" * 64, "--hash=sha256:" + "0" * 63),
    "an address": ("anyio==4.0", "anyio @ https://example.org/anyio.whl"),
    "an index": ("anyio==4.0", "--extra-index-url https://example.org/\nanyio==4.0"),
    "an editable one": ("anyio==4.0", "-e ./anyio\nanyio==4.0"),
}
CLEAN = "# locked\nanyio==4.0 \\\n    --hash=sha256:" + "0" * 64 + "\n    # via starlette\n"


@pytest.mark.parametrize("how", DOCTORED)
def test_the_check_finds_what_is_not_locked(how: str) -> None:
    was, becomes = DOCTORED[how]
    assert unlocked(CLEAN) == []
    assert unlocked(CLEAN.replace(was, becomes)) != []


def wheel_of_nothing(folder: Path) -> str:
    """A package that pip finds in the folder; returns the hash of it."""
    path = folder / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("nothing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n")
        wheel.writestr("nothing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("nothing-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("hashed", "installs"),
    [("--hash=sha256:{right}", True), ("", False), ("--hash=sha256:{wrong}", False)],
    ids=["its hash", "no hash", "another's hash"],
)
def test_the_set_up_installs_nothing_without_its_hash(tmp_path: Path, hashed: str, installs: bool) -> None:
    right = wheel_of_nothing(tmp_path)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"nothing==1.0 {hashed.format(right=right, wrong='0' * 64)}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--no-index"]
    argv = [*pip, "--find-links", str(tmp_path), "--require-hashes", "-r", str(requirements)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is installs, done.stderr
    assert installs or "hash" in done.stderr.lower()


def test_every_installation_by_our_tools_asks_for_hashes() -> None:
    """Also that of the programs which only lock or check: what they write is believed by everything after them."""
    scripts = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "tools").iterdir()]
    installs = [
        f"{path.name}: {line.strip()}"
        for path in scripts
        if path.is_file()
        for line in path.read_text().splitlines()
        if re.search(r"(-m |\*)pip\b.*\binstall\b", line)
    ]
    assert installs
    assert not [line for line in installs if "--require-hashes" not in line]


# --- an unlocked version: Rust


def lock_files() -> list[Path]:
    return [path for path in tracked() if path.name == "Cargo.lock"]


def unlocked_crates(lock: str) -> list[str]:
    """Crates that are neither ours nor of the public registry with a checksum."""
    ours = {"covm-core", "covm-native", "covm-fuzz", "covm-negentropy"}
    return [
        package["name"]
        for package in tomllib.loads(lock)["package"]
        if not (package["name"] in ours and "source" not in package)
        and not (package.get("source") == CRATES and re.fullmatch("[0-9a-f]{64}", package.get("checksum", "")))
    ]


def test_the_crates_are_locked_in_the_repository() -> None:
    assert ROOT / "Cargo.lock" in lock_files()
    for path in lock_files():
        assert unlocked_crates(path.read_text()) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [(r'checksum = "[0-9a-f]{64}"\n', ""), (re.escape(CRATES), "git+https://example.org/aead")],
    ids=["no checksum", "another source"],
)
def test_the_check_finds_a_crate_that_is_not_locked(was: str, becomes: str) -> None:
    doctored = re.sub(was, becomes, (ROOT / "Cargo.lock").read_text(), count=1)
    assert unlocked_crates(doctored) == ["aead"]


def manifests(folder: Path) -> Path:
    """A copy of what Cargo reads to know the tree, with nothing to compile."""
    for manifest in [ROOT / "Cargo.toml", *(ROOT / "native").glob("*/Cargo.toml")]:
        copy = folder / manifest.relative_to(ROOT)
        (copy.parent / "src").mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest, copy)
        (copy.parent / "src" / "lib.rs").touch()
    shutil.copy(ROOT / "Cargo.lock", folder / "Cargo.lock")
    shutil.copytree(ROOT / "native", folder / "native", dirs_exist_ok=True, ignore=shutil.ignore_patterns("target"))
    return folder


def is_locked(folder: Path) -> bool:
    """Whether Cargo takes the lock file as it is. It asks nobody."""
    argv = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"]
    return subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode == 0


def test_cargo_refuses_to_build_what_the_lock_file_does_not_have(tmp_path: Path) -> None:
    folder = manifests(tmp_path)
    assert is_locked(folder)
    core = folder / "native" / "core" / "Cargo.toml"
    core.write_text(core.read_text().replace("[dependencies]", '[dependencies]\nrand_core = "0.4"', 1))
    assert not is_locked(folder)


# --- an unexpected licence, another source


def deny(config: str, folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    program = cargo_deny.find()
    if program is None:
        pytest.skip("cargo-deny is not built here; `make check` builds it and fails without it")
    (folder / "deny.toml").write_text(config)
    argv = [program, "--offline", "--all-features", "--config", str(folder / "deny.toml"), "check", what]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_licences_are_a_list_and_nothing_else_is_let_in() -> None:
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    assert rules["licenses"]["allow"]
    assert not [licence for licence in rules["licenses"]["allow"] if "GPL" in licence]
    assert rules["sources"] == {"unknown-registry": "deny", "unknown-git": "deny"}
    assert rules["advisories"]["yanked"] == "deny"


def test_a_crate_with_an_unexpected_licence_fails_the_check(tmp_path: Path) -> None:
    """That the true list lets the tree pass is what `make check` asks."""
    rules = (ROOT / "deny.toml").read_text()
    refused = deny(rules.replace('"MIT", ', ""), tmp_path, "licenses")
    assert refused.returncode != 0
    assert "licenses FAILED" in refused.stdout + refused.stderr


def test_our_own_licence_is_what_the_package_says() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


# --- a dependency with a known hole

HOLE = {"dependencies": [{"name": "anyio", "version": "4.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": []}]}]}
SOUND = {"dependencies": [{"name": "anyio", "version": "4.0", "vulns": []}]}


def answering(folder: Path, answer: object, status: int) -> Path:
    """A folder of programs in which pip-audit answers so."""
    program = folder / "pip-audit"
    program.write_text(f"#!{sys.executable}\nprint({json.dumps(json.dumps(answer))})\nraise SystemExit({status})\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("answer", "status", "passed"),
    [(HOLE, 1, False), (SOUND, 0, True), (SOUND, 1, False), ({"dependencies": []}, 1, None)],
    ids=["a hole", "none", "none but an error", "no answer"],
)
def test_a_package_with_a_known_hole_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object, status: int, passed: bool | None
) -> None:
    monkeypatch.setattr(check, "BIN", answering(tmp_path, answer, status))
    verdict = check.python_advisories()
    assert verdict.passed is passed
    assert ("PYSEC-2026-1" in verdict.said) is (answer is HOLE)


def test_the_check_asks_about_crates_packages_licences_and_sources() -> None:
    assert {"licences, sources", "holes in crates", "holes in packages"} <= check.checks().keys()


# --- where things come from is the business of who installs

ADDRESSES = re.compile(
    r"--(?:extra-)?index-url|_INDEX_URL\b|--find-links|_FIND_LINKS\b|trusted-host|files\.pythonhosted"
    r"|^\s*\[(?:registries|source)\.|^\s*registry\s*=\s*\"|replace-with|\bsparse\+|/simple/|\"resolved\":",
    re.MULTILINE,
)
MAY_NAME_THEM = {"tools/lock.sh", "tests/adversarial/test_supply.py", "tests/test_house.py"}
"""They look for such lines themselves."""


def naming_addresses(paths: Iterable[Path]) -> list[str]:
    named = []
    for path in paths:
        text = path.read_bytes().decode(errors="replace")
        if ADDRESSES.search(text) or (path.name != "Cargo.lock" and CRATES in text):
            named.append(path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name)
    return named


def test_no_file_names_an_index_or_a_registrys_host() -> None:
    assert not set(naming_addresses(tracked())) - MAY_NAME_THEM


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "PIP_EXTRA_INDEX_URL=https://example.org",
        "--find-links https://example.org",
        "[registries.ours]",
        'replace-with = "mirror"',
        'registry = "sparse+https://example.org/"',
        '"resolved": "https://example.org/a.tgz"',
    ],
)
def test_the_check_finds_an_address(tmp_path: Path, line: str) -> None:
    doctored = tmp_path / "doctored.txt"
    doctored.write_text(f"some text\n{line}\n")
    assert naming_addresses([doctored]) == ["doctored.txt"]
