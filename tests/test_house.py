"""What a linter cannot see: that the house is as its plan says, and that its rooms say what they are for."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from covm.federation.config.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "covm"
FILE_LINES = 400
FUNCTION_LINES = 70
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}
NOT_FOR_EVERY_IMPORT = ("sqlalchemy", "rich", "starlette", "uvicorn", "cyclopts", "structlog", "uvloop", "pycrdt")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def packages() -> list[Path]:
    """Every folder of the package that has code in it, directly or below."""
    return sorted({SOURCE, *(p for p in SOURCE.rglob("*") if p.is_dir() and any(p.rglob("*.py")))})


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def rust_files() -> list[Path]:
    return sorted(path for path in (ROOT / "native").rglob("*.rs") if "target" not in path.parts)


# --- rooms


@pytest.mark.parametrize("folder", packages(), ids=relative)
def test_every_folder_says_what_it_is_for(folder: Path) -> None:
    init = folder / "__init__.py"
    assert init.is_file(), f"{relative(folder)} has no __init__.py"
    assert ast.get_docstring(ast.parse(init.read_text())), f"{relative(init)} has no docstring"


@pytest.mark.parametrize("path", [*python_files("src", "tests", "tools", "benchmarks"), *rust_files()], ids=relative)
def test_a_file_is_one_noun(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= FILE_LINES, f"{relative(path)} has {lines} lines; which two nouns are in it?"
    assert path.stem not in NAMES_THAT_SAY_NOTHING


@pytest.mark.parametrize("path", python_files("src", "tests", "tools", "benchmarks"), ids=relative)
def test_a_function_is_one_verb(path: Path) -> None:
    too_long = [
        f"{node.name} ({lines})"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES
    ]
    assert not too_long


@pytest.mark.parametrize("path", [*python_files("src"), *rust_files()], ids=relative)
def test_nothing_is_left_unfinished(path: Path) -> None:
    assert not UNFINISHED.findall(path.read_text())


# --- the tree in the README


def drawn_tree() -> list[str]:
    """The paths drawn in the README's block that begins with ```tree.

    Two spaces of indentation are one level; a line's first words up to two spaces are names of that folder, several
    of them separated by a blank; what follows two spaces or more is what they are for.
    """
    block = re.search(r"^```tree\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block, "README.md draws no ```tree block"
    paths: list[str] = []
    above: list[str] = []
    for line in filter(str.strip, block[1].splitlines()):
        depth = (len(line) - len(line.lstrip(" "))) // 2
        names = re.split(r" {2,}", line.strip())[0].split()
        del above[depth:]
        paths += ["/".join([*above, name.rstrip("/")]) for name in names]
        above.append(names[-1].rstrip("/"))
    return paths


def test_the_tree_in_the_readme_is_the_tree() -> None:
    missing = [path for path in drawn_tree() if not (ROOT / path).exists()]
    assert not missing, "drawn, but not there"


def test_every_room_is_in_the_tree() -> None:
    rooms = {relative(folder) for folder in packages() if len(folder.relative_to(SOURCE).parts) <= 2} - {"src/covm"}
    rooms |= {relative(folder) for folder in (ROOT / "native").iterdir() if folder.is_dir()}
    assert not rooms - set(drawn_tree()), "there, but not drawn"


# --- the public surface


def public_names() -> list[str]:
    return sorted(importlib.import_module("covm.federation").__all__)


def fields_without_docstring(thing: type) -> Iterator[str]:
    """Public fields of a record with neither a docstring below them nor a word in backticks in the class's own."""
    told = set(re.findall(r"`([a-z_0-9]+)`", inspect.getdoc(thing) or ""))
    if not hasattr(thing, "__annotations__") or thing.__module__.startswith("covm._native"):
        return
    [definition] = ast.parse(inspect.getsource(thing)).body
    assert isinstance(definition, ast.ClassDef)
    body = definition.body
    for statement, below in itertools.zip_longest(body, body[1:]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            documented = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if not documented and statement.target.id not in told and not statement.target.id.startswith("_"):
                yield statement.target.id


def members_without_docstring(name: str, thing: object) -> Iterator[str]:
    if not inspect.getdoc(thing):
        yield name
    if inspect.isclass(thing):
        yield from (f"{name}.{field}" for field in fields_without_docstring(thing))
        for member, value in vars(thing).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(function) and not member.startswith("_") and not inspect.getdoc(function):
                yield f"{name}.{member}"


@pytest.mark.parametrize("module", ["covm.federation", "covm.testing", "covm.governance"])
def test_public_names_say_what_they_promise(module: str) -> None:
    public = importlib.import_module(module)
    assert public.__all__, f"{module} lists no public names"
    undocumented = [
        each
        for name in public.__all__
        if inspect.isclass(thing := getattr(public, name)) or inspect.isfunction(thing)
        for each in members_without_docstring(name, thing)
    ]
    assert not undocumented


def test_public_names_are_listed_in_the_documentation() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    assert not [name for name in public_names() if not re.search(rf"\b{name}\b", page)]


def test_the_map_of_the_house_names_every_room() -> None:
    told = importlib.import_module("covm.federation").__doc__ or ""
    rooms = [folder.name for folder in packages() if folder.parent == SOURCE / "federation"]
    assert not [room for room in rooms if room not in told]


# --- who may know whom, where import-linter cannot look -------------------------------------------------------------


def imports_at_module_level(path: Path) -> Iterator[str]:
    """What importing the file imports: not what functions import when called, nor what only type checkers read."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute_module(path, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)


def absolute_module(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = ["covm", *path.relative_to(SOURCE).parts[:-1]]
    return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


@pytest.mark.parametrize("path", python_files("src/covm/cli", "src/covm/control"), ids=relative)
def test_the_command_line_starts_without_the_federation(path: Path) -> None:
    assert not [name for name in imports_at_module_level(path) if name.startswith("covm.federation")]


def modules_loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("statement", ["import covm.federation", "from covm.federation import FederationService"])
def test_importing_the_library_loads_neither_database_nor_terminal_nor_server(statement: str) -> None:
    assert not modules_loaded_by(statement) & set(NOT_FOR_EVERY_IMPORT)


# --- what the house's own tasks say to the package


def test_the_houses_own_variables_are_not_taken_for_settings() -> None:
    """A variable that begins with `COVM_` and is no setting is an error, so what only tasks use is named otherwise."""
    settings = {f"COVM_{name.replace('.', '_').upper()}" for name in ("preset", *SETTINGS)}
    texts = [path.read_text() for path in [ROOT / "Makefile", *python_files("tools", "benchmarks", "tests/packaging")]]
    texts.append((ROOT / "tests" / "conftest.py").read_text())
    assert not {name for text in texts for name in re.findall(r"\bCOVM_[A-Z_]+\b", text)} - settings


# --- what is locked


def requirements(text: str) -> set[str]:
    return {
        line.split(";")[0].replace(" ", "") for line in text.splitlines() if line and not line.startswith(("#", "-"))
    }


def test_what_is_locked_is_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = requirements("\n".join([*project["dependencies"], *project["optional-dependencies"]["uvloop"]]))
    assert requirements((ROOT / "requirements" / "runtime.in").read_text()) == asked


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_every_locked_package_has_a_hash_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert not [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry]


def test_every_locked_package_of_another_language_has_a_hash_and_no_address() -> None:
    text = (ROOT / "tests" / "interop" / "package-lock.json").read_text()
    packages = {name: each for name, each in json.loads(text)["packages"].items() if name}
    assert "://" not in text
    assert not [name for name, each in packages.items() if not each["integrity"].startswith("sha512-")]
