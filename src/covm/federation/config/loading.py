"""From sources to a configuration: defaults, preset, file, environment, options, each above the last."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from covm.federation.config.model import FederationConfig, flattened, nested
from covm.federation.config.presets import PRESETS, preset_settings
from covm.federation.config.settings import SETTINGS, conflicts_of, plain, problems_of, value_shown
from covm.federation.config.sources import PRESET, Given, Layer, from_environment, from_file, from_options
from covm.federation.errors import ConfigError, ConfigProblem

FILE_NAME = "config.toml"
"""The configuration file in a home."""


class Setting(msgspec.Struct, frozen=True):
    """One setting: its name, its value as JSON has it (durations are text), and where it came from.

    `source` is `default`, `preset local`, a file with its line, an environment variable, or an option.
    """

    field: str
    value: Any
    source: str

    def __str__(self) -> str:
        return f"{self.field} = {value_shown(self.value)} ({self.source})"


class _Resolved(NamedTuple):
    values: dict[str, Any]
    sources: dict[str, str]
    preset: Given | None


def load(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], options: Mapping[str, Any]
) -> FederationConfig:
    """See `FederationConfig.load`."""
    return FederationConfig(**nested(_resolve(path, environ, options).values))


def explain(
    path: str | os.PathLike[str] | None, environ: Mapping[str, str], options: Mapping[str, Any]
) -> list[Setting]:
    """See `FederationConfig.explain`."""
    values, sources, preset = _resolve(path, environ, options)
    settings = [Setting(name, plain(value), sources[name]) for name, value in values.items()]
    return settings if preset is None else [Setting(PRESET, preset.raw, preset.source), *settings]


def _resolve(path: str | os.PathLike[str] | None, environ: Mapping[str, str], options: Mapping[str, Any]) -> _Resolved:
    upper = [from_environment(environ), from_options(options)]
    file = _file(path, upper)
    layers = [from_file(file), *upper] if file is not None else upper
    problems = [problem for layer in layers for problem in layer.problems]

    values = flattened(FederationConfig())
    sources = dict.fromkeys(values, "default")
    preset = _given(PRESET, layers)
    if preset is not None:
        problems += _apply_preset(preset, values, sources)
    for layer in layers:
        problems += _apply(layer, values, sources)
    problems += conflicts_of(values, sources)
    if problems:
        raise ConfigError(problems)
    return _Resolved(values, sources, preset)


def _file(path: str | os.PathLike[str] | None, upper: list[Layer]) -> Path | None:
    """The file that was named, or the one in the home, if it is there."""
    if path is not None:
        return Path(path).expanduser()
    home = _given("home", upper)
    if home is None or not isinstance(home.raw, str):
        return None
    file = Path(home.raw).expanduser() / FILE_NAME
    return file if file.exists() else None


def _given(name: str, layers: list[Layer]) -> Given | None:
    return next((layer.given[name] for layer in reversed(layers) if name in layer.given), None)


def _apply_preset(preset: Given, values: dict[str, Any], sources: dict[str, str]) -> list[ConfigProblem]:
    """Puts a preset's settings over the defaults. Those that an unknown preset may have set are taken out."""
    try:
        settings = preset_settings(preset.raw)
    except ValueError as error:
        for name in {name for settings in PRESETS.values() for name in settings}:
            del values[name]
        return [ConfigProblem(PRESET, value_shown(preset.raw), str(error), preset.source)]
    values.update(settings)
    sources.update(dict.fromkeys(settings, f"preset {preset.raw}"))
    return []


def _apply(layer: Layer, values: dict[str, Any], sources: dict[str, str]) -> list[ConfigProblem]:
    """Puts a layer over those below. A setting whose value is wrong is taken out: what stood below was not meant."""
    problems = []
    for name, (raw, source) in layer.given.items():
        if name == PRESET:
            continue
        value = SETTINGS[name].read(raw)
        found = list(problems_of(name, value, source))
        problems += found
        if found:
            values.pop(name, None)
        else:
            values[name] = value
            sources[name] = source
    return problems
