"""Where settings come from: a TOML file, the environment, options. Each gives settings by name with their source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from covm.federation.config.kinds import did_you_mean
from covm.federation.config.settings import SETTINGS, value_shown
from covm.federation.errors import ConfigProblem
from covm.federation.wire.display import shown

PRESET: Final = "preset"
PREFIX: Final = "COVM_"
NO_SETTINGS: Final = frozenset({"COVM_PASSPHRASE", "COVM_PASSPHRASE_FILE"})
"""Variables of the command line that are none of a node's settings, and whose values are nobody's business."""
_KNOWN: Final = (PRESET, *SETTINGS)
_GROUPS: Final = frozenset(name.partition(".")[0] for name in SETTINGS if "." in name)
_BY_UNDERSCORES: Final = {name.replace(".", "_"): name for name in _KNOWN}
_MOST_FILE_BYTES: Final = 256 * 1024
"""A configuration that a person wrote has a few KiB; anything larger is another file."""
_TABLE: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_KEY: Final = re.compile(r"\s*[\"']?([\w.-]+)[\"']?\s*=")


class Given(NamedTuple):
    """A value as a source gives it."""

    raw: object
    source: str


class Layer(NamedTuple):
    """What one source gives, and what is wrong with the source itself."""

    given: dict[str, Given]
    problems: list[ConfigProblem]


def from_file(path: Path) -> Layer:
    """The settings of a TOML file."""
    import tomllib

    try:
        with path.open("rb") as file:
            content = file.read(_MOST_FILE_BYTES + 1)
    except OSError as error:
        return _no_file(path, f"cannot be read: {error.strerror}; check the path and its permissions")
    if len(content) > _MOST_FILE_BYTES:
        return _no_file(path, f"has more than {_MOST_FILE_BYTES // 1024} KiB; a configuration is a small TOML file")
    try:
        text = content.decode("utf-8")
        table = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return _no_file(path, f"is not TOML: {error}")
    lines = _line_numbers(text)
    layer = Layer({}, [])
    for name, value in _leaves(table):
        source = f"{path} line {lines[name]}" if name in lines else str(path)
        _file_under(layer, name, Given(value, source))
    return layer


def from_environment(environ: Mapping[str, str]) -> Layer:
    """The settings among environment variables: `COVM_MAX_CONNECTIONS`, `COVM_CONNECTION_RETRY_BASE_DELAY`.

    An empty variable counts as not set.
    """
    layer = Layer({}, [])
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and value and variable not in NO_SETTINGS:
            written = variable.removeprefix(PREFIX).lower()
            _file_under(layer, _BY_UNDERSCORES.get(written, written), Given(value, variable))
    return layer


def from_options(options: Mapping[str, Any]) -> Layer:
    """The settings among options: `max_connections`, `connection_retry.base_delay`, also with dashes or underscores."""
    layer = Layer({}, [])
    for option, value in _leaves(options):
        if value is not None:
            written = re.sub("[-.]", "_", option)
            flag = "--" + written.replace("_", "-")
            _file_under(layer, _BY_UNDERSCORES.get(written, written), Given(value, f"option {flag}"))
    return layer


def _file_under(layer: Layer, name: str, given: Given) -> None:
    if name in _KNOWN:
        layer.given[name] = given
        return
    if name in _GROUPS:
        inner = ", ".join(setting.partition(".")[2] for setting in SETTINGS if setting.startswith(name + "."))
        allowed = f"must be a table with the settings {inner}"
    else:
        hint = did_you_mean(name, _KNOWN) or "; `covm config show` lists them all"
        allowed = f"is not a setting{hint}"
    # A passphrase that was meant for the key, under a name with a slip in it, is not told.
    value = "..." if "pass" in name else value_shown(given.raw)
    layer.problems.append(ConfigProblem(shown(name), value, allowed, given.source))


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and not prefix:
            yield from _leaves(value, f"{key}.")
        else:
            yield prefix + key, value


def _line_numbers(text: str) -> dict[str, int]:
    """The line of each setting's first mention. A glance, no parser: it only has to find what people write."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(line):
            table = found[1] + "."
        elif found := _KEY.match(line):
            lines.setdefault(table + found[1], number)
    return lines


def _no_file(path: Path, allowed: str) -> Layer:
    return Layer({}, [ConfigProblem("file", value_shown(str(path)), allowed, "configuration file")])
