"""`covm config show` and `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from covm.cli.federation_errors import as_failures
from covm.cli.options import DEFAULT, Common
from covm.cli.output import as_text, safe, say, say_json
from covm.cli.rendering import table
from covm.control.failures import NotFound
from covm.control.schema import Versioned


class ShownSetting(Struct, kw_only=True, frozen=True):
    """One value and where it came from."""

    field: str
    value: Any
    source: str


class Settings(Versioned, kw_only=True, frozen=True):
    """Every value of the configuration."""

    home: str
    settings: list[ShownSetting]


class Checked(Versioned, kw_only=True, frozen=True):
    """A configuration file without problems."""

    file: str
    ok: bool


def show(*, common: Common = DEFAULT) -> None:
    """Show every setting of the node on this home, with its value and where that came from.

    Later sources go over earlier ones: defaults, preset, the home's config.toml, COVM_* in the environment, options.
    """
    from covm.federation import FederationConfig

    home = common.folder
    with as_failures():
        settings = FederationConfig.explain(options={"home": str(home)})
    if common.json:
        listed = [ShownSetting(field=each.field, value=each.value, source=each.source) for each in settings]
        say_json(Settings(home=str(home), settings=listed))
        return
    rows = [(each.field, as_text(each.value), each.source) for each in settings]
    table(("SETTING", "VALUE", "FROM"), rows, empty="no setting is known")


def check(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Check a configuration file, and list everything that is wrong with it at once.

    Parameters
    ----------
    file
        A TOML file, such as a home's config.toml.
    """
    from covm.federation import FederationConfig

    if not file.exists():
        raise NotFound(f"there is no file {file}", code="no_file")
    with as_failures():
        FederationConfig.load(file, environ={})
    if common.json:
        say_json(Checked(file=str(file), ok=True))
    else:
        say(f"{safe(file)} is right")
