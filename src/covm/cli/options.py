"""The options that every command has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from covm.control.home import home_of


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What a command is told besides its task."""

    home: Annotated[str, Parameter(env_var="COVM_HOME")] = "~/.covm"
    """The node's folder: its key, its configuration, its control socket."""
    json: Annotated[bool, Parameter(negative=())] = False
    """One versioned JSON object alone on standard output, errors too."""
    no_input: Annotated[bool, Parameter(negative=())] = False
    """Never wait for something to be typed."""

    @property
    def folder(self) -> Path:
        """The home, absolute."""
        return home_of(self.home)


DEFAULT = Common()

_FLAGS = ("--json", "--no-input")


def common_last(tokens: Sequence[str]) -> list[str]:
    """The tokens with common options that stand before the command moved behind it, as in `covm --json federation ...`.

    Behind it, but before a `--`: what follows that is never an option.
    """
    leading: list[str] = []
    rest = list(tokens)
    while rest:
        if rest[0] in _FLAGS or rest[0].startswith("--home="):
            leading.append(rest.pop(0))
        elif rest[0] == "--home" and len(rest) > 1:
            leading += [rest.pop(0), rest.pop(0)]
        else:
            break
    if not rest:
        return leading
    end = rest.index("--") if "--" in rest else len(rest)
    return rest[:end] + leading + rest[end:]
