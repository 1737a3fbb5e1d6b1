"""Every Python and TOML example of the README and the handbook is run."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.docs.pages import ROOT, Block, blocks, pages_with

from covm.federation import FederationConfig
from covm.federation.membership.rules import read_rules
from covm.governance import Proposal
from covm.testing import simulated_federation

PATIENCE_S = 100
HELLO = ROOT / "examples" / "hello_federation.py"
RULES = ROOT / "examples" / "rules.toml"
PROPOSAL = Proposal(id="roof", title="A solar roof", author="Mill Bakery", created_at=1_795_199_400_000)


def is_program(block: Block) -> bool:
    return "asyncio.run(" in block.text


def is_test_file(block: Block) -> bool:
    return re.search(r"^(async )?def test_", block.text, re.MULTILINE) is not None


def python_blocks() -> list[Block]:
    return [block for page in pages_with("python") for block in blocks(page, "python")]


def fragments(page: Path) -> list[Block]:
    return [block for block in blocks(page, "python") if not is_program(block) and not is_test_file(block)]


def run(*arguments: str, folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVM_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_program_in_the_readme_is_the_example_word_for_word() -> None:
    [program] = blocks(ROOT / "README.md", "python")
    assert program.text == HELLO.read_text()


@pytest.mark.parametrize(
    "block", [block for block in python_blocks() if is_program(block)], ids=lambda block: block.place
)
def test_a_program_runs_when_it_is_pasted_into_a_file(block: Block, tmp_path: Path) -> None:
    (tmp_path / "pasted.py").write_text(block.text)
    printed = run("pasted.py", folder=tmp_path)
    assert block.output is None or printed == block.output
    assert printed


@pytest.mark.parametrize(
    "block", [block for block in python_blocks() if is_test_file(block)], ids=lambda block: block.place
)
def test_a_test_file_passes(block: Block, tmp_path: Path) -> None:
    (tmp_path / "test_pasted.py").write_text(block.text)
    printed = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "test_pasted.py", folder=tmp_path
    )
    assert f"{len(re.findall(r'def test_', block.text))} passed" in printed


@pytest.mark.parametrize("page", [page for page in pages_with("python") if fragments(page)], ids=lambda page: page.name)
async def test_the_fragments_of_a_page_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where they write files
    async with simulated_federation(2, types=[Proposal]) as nodes:
        names: dict[str, Any] = {"federation": nodes[0], "other": nodes[1], "proposal": PROPOSAL, "__name__": "pasted"}
        async with asyncio.timeout(PATIENCE_S):
            await play(fragments(page), names)


async def play(pieces: Iterable[Block], names: dict[str, Any]) -> None:
    for block in pieces:
        # Empty lines in front, so that a traceback shows the page's own line.
        source = "\n" * block.line + block.text
        code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            result = eval(code, names)
            if inspect.iscoroutine(result):
                await result
        if block.output is not None:
            assert printed.getvalue() == block.output, block.place


@pytest.mark.parametrize(
    "block",
    [block for page in pages_with("toml") for block in blocks(page, "toml")],
    ids=lambda block: block.place,
)
def test_a_configuration_is_accepted(block: Block, tmp_path: Path) -> None:
    if block.text.startswith("# rules.toml"):
        assert read_rules(block.text.encode()) == read_rules(RULES.read_bytes())
        return
    file = tmp_path / "config.toml"
    file.write_text(block.text)
    FederationConfig.load(file, environ={})


def test_the_readme_and_the_handbook_have_no_block_whose_kind_is_unknown() -> None:
    known = {
        "console",
        "shell-session",
        "python",
        "output",
        "toml",
        "ini",
        "sh",
        "tree",
        "{toctree}",
        "{include}",
        "{eval-rst}",
    }
    used = {language for page in (ROOT / "docs").glob("*.md") for language in languages(page)}
    assert used | set(languages(ROOT / "README.md")) <= known


def languages(page: Path) -> list[str]:
    return [mark.split()[0] for mark in re.findall(r"^```+(.*)$", page.read_text(), re.MULTILINE) if mark]
