"""The page of the interface shows what one may write, and nothing that only the code itself may."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

from tests.docs.pages import ROOT

SERVICE = ROOT / "src" / "covm" / "federation" / "service.py"


def signatures(source: Path) -> list[str]:
    """The parameters of every function in a file, as they are written."""
    functions = ast.walk(ast.parse(source.read_text()))
    return [f"({ast.unparse(each.args)})" for each in functions if isinstance(each, ast.AsyncFunctionDef)]


def test_a_default_that_only_says_left_out_is_not_shown_by_its_private_name() -> None:
    shown = runpy.run_path(str(ROOT / "docs" / "conf.py"))["without_sentinels"]
    private = re.compile(r"=\s*_[A-Z]")
    written = [signature for signature in signatures(SERVICE) if private.search(signature)]
    assert written, "no sentinel is left: this test and what it tests may go"
    for signature in written:
        told, _ = shown(None, "method", "publish", None, None, signature, None)
        assert not private.search(told)
        assert "=..." in told
