"""`covm version`."""

from __future__ import annotations

import platform

from covm.cli.options import DEFAULT, Common
from covm.cli.output import say, say_json
from covm.control import schema


class Versions(schema.Versioned, kw_only=True, frozen=True):
    """What this command is."""

    covm: str
    control_api: int
    python: str
    platform: str


def version(*, common: Common = DEFAULT) -> None:
    """Print the version of covm, of its control API, and of the Python it runs on."""
    from covm.federation.version import software_version

    versions = Versions(
        covm=software_version(),
        control_api=schema.VERSION,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
    )
    if common.json:
        say_json(versions)
    else:
        say(f"covm {versions.covm} (control API {versions.control_api}), Python {versions.python}, {versions.platform}")
