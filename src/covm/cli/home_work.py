"""Work on the home of a node that does not run, with its keys opened as they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from covm.cli import key_passphrase, passphrases
from covm.cli.federation_errors import as_failures
from covm.cli.options import Common
from covm.control.failures import Invalid
from covm.control.home import prepare_home

if TYPE_CHECKING:
    from covm.daemon.home_key import Ask, HomeKeys
    from covm.daemon.homestead import Homestead

R = TypeVar("R")


def home_keys(common: Common, passphrase_file: Path | None = None) -> HomeKeys:
    """The keys of the home. Once in a command: the environment has the passphrase no longer then."""
    from covm.daemon.home_key import HomeKeys

    return HomeKeys(common.folder, key_passphrase.given_for(common.folder, passphrase_file), asking(common))


def asking(common: Common) -> Ask:
    """Has the passphrase of something typed. Raises `Invalid` where nobody can be asked."""
    return lambda what: passphrases.typed_once(what, key_passphrase.OTHERWISE, may_ask=not common.no_input)


def at_home(common: Common, keys: HomeKeys, work: Callable[[Homestead], Awaitable[R]], code: str) -> R:
    """Does something on the home. A `ValueError` of it becomes `Invalid` with this code."""
    from covm.daemon.homestead import homestead

    prepare_home(common.folder)

    async def run() -> R:
        async with homestead(common.folder, keys) as home:
            return await work(home)

    with as_failures():
        try:
            return asyncio.run(run())
        except ValueError as error:
            raise Invalid(str(error), code=code) from error
