"""The README and the handbook as blocks: what is fenced, in which language, on which line, and what it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^(?P<ticks>```+)(?P<language>[\w{}-]*)\n(?P<text>.*?)^(?P=ticks)\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str
    output: str | None
    """What the ```output block right behind it says."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a page in one language, in order."""
    return [block for block in _all(page) if block.language == language]


def pages_with(language: str) -> list[Path]:
    """The pages that have a block in this language."""
    return [page for page in PAGES if blocks(page, language)]


def section(page: str, heading: str) -> str:
    """What stands below a heading, down to the next heading of any level."""
    text = (ROOT / page).read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def table_rows(text: str) -> list[list[str]]:
    """The cells of every table row in a text, without heads and rules."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rules = [index for index, row in enumerate(rows) if all(set(cell) <= set("-: ") and "-" in cell for cell in row)]
    return [row for index, row in enumerate(rows) if index not in rules and index + 1 not in rules]


def quoted(text: str) -> set[str]:
    """The words in backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def _all(page: Path) -> Iterator[Block]:
    text = page.read_text()
    found = list(_FENCE.finditer(text))
    for index, match in enumerate(found):
        line = text.count("\n", 0, match.start()) + 1
        following = found[index + 1] if index + 1 < len(found) else None
        output = None
        if (
            following is not None
            and following["language"] == "output"
            and not text[match.end() : following.start()].strip()
        ):
            output = following["text"]
        yield Block(page, line, match["language"], match["text"], output)
