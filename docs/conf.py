"""How the documentation is built: Markdown, strict, from the docstrings of what is public."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

root = Path(__file__).resolve().parent.parent

project = "covm"
author = "The covm authors"
copyright = "The covm authors, Apache-2.0"
release = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "undoc-members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
# Fields called `type` hide the built-in of that name from the search for its page; there is none to link to anyhow.
suppress_warnings = ["ref.python"]
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True

# A console block and what it prints are plain text to a highlighter that would guess at them.
highlight_language = "none"

html_theme = "furo"
html_title = f"covm {release}"
html_show_sphinx = False

INLINE_CODE = re.compile(r"(?<![`:\w])`([^`]+)`(?![`_])")


def written_for_people(
    _app: object, _what: str, _name: str, _thing: object, _options: object, lines: list[str]
) -> None:
    """Docstrings are written to be read in an editor: `code` in single backticks, and code blocks by indentation."""
    told: list[str] = []
    for line in lines:
        after_a_gap = not told or not told[-1].strip()
        if line.startswith("    ") and after_a_gap and not (told and _in_block(told)):
            told += ["::", ""]
        told.append(line if line.startswith("    ") else INLINE_CODE.sub(r"``\1``", line))
    lines[:] = told


def _in_block(told: list[str]) -> bool:
    """Whether the last line that is not empty belongs to a block of code already."""
    return next((line for line in reversed(told) if line.strip()), "").startswith("    ")


def without_sentinels(
    _app: object, _what: str, _name: str, _thing: object, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A default that only says "left out" is our own business: the reader sees that there is one."""
    return (re.sub(r"=\s*_[A-Z_]+", "=...", signature) if signature else signature), returns


def not_for_users(_app: object, what: str, name: str, _thing: object, skip: bool, _options: object) -> bool | None:
    """Bounds have their reason in the source; a page of names is for what one calls."""
    return True if what == "module" and name.isupper() else skip or None


def setup(app: Any) -> None:
    """Sphinx calls this; see `sphinx.ext.autodoc`."""
    app.connect("autodoc-process-docstring", written_for_people, priority=100)
    app.connect("autodoc-process-signature", without_sentinels)
    app.connect("autodoc-skip-member", not_for_users)
