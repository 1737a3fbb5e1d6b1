"""Settings put into the home's configuration file, whose every other line stays as its owner wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from covm.control.home import config_path

_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


def put(home: Path, settings: Mapping[str, str | list[str]]) -> None:
    """Sets them in `config.toml`, in place where they stand and else above the first table."""
    path = config_path(home)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    first = _TABLE.search(text)
    top, rest = (text[: first.start()], text[first.start() :]) if first else (text, "")
    for name, value in settings.items():
        # JSON's strings and lists are TOML's.
        line = f"{name} = {json.dumps(value)}\n"
        found = re.search(rf"^[ \t]*{re.escape(name)}[ \t]*=.*(?:\n|$)", top, re.MULTILINE)
        if found:
            top = top[: found.start()] + line + top[found.end() :]
        else:
            top = f"{top}\n{line}" if top and not top.endswith("\n") else top + line
    scratch = path.with_suffix(".toml.new")
    scratch.write_text(top + rest, encoding="utf-8")
    scratch.replace(path)
