"""`covm init`: a home with a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from covm.cli import key_passphrase
from covm.cli.federation_errors import as_failures
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control.failures import Invalid
from covm.control.home import config_path, key_path, prepare_home
from covm.control.schema import Versioned

if TYPE_CHECKING:
    from covm.federation.identity.key_file import KeyFile


class Initialised(Versioned, kw_only=True, frozen=True):
    """A home and the node that it belongs to. `created` is False when the key was there already."""

    home: str
    peer_id: str
    did_key: str
    created: bool
    config: str
    encrypted: bool


def init(
    *,
    name: Annotated[str | None, Parameter(negative=())] = None,
    network: Annotated[str | None, Parameter(negative=())] = None,
    preset: str | None = None,
    listen: Annotated[list[str] | None, Parameter(negative=())] = None,
    encrypt: Annotated[bool, Parameter(negative=())] = False,
    passphrase_file: Path | None = None,
    common: Common = DEFAULT,
) -> None:
    """Make the node's home: its folder, its key, and a configuration with what is given here.

    A key that is there is kept, always; a configuration that is there is not changed.

    Parameters
    ----------
    name
        The name that other nodes see, such as "Mill Bakery".
    network
        For a trial without members: every node of one network name takes part.
    preset
        Settings for a place: local, lan or wan.
    listen
        A multiaddr to listen on, such as /ip4/0.0.0.0/tcp/9000. May be given several times.
    encrypt
        Encrypt the key with a passphrase, which is asked for twice.
    passphrase_file
        The passphrase to encrypt the key with is the first line of this file. COVM_PASSPHRASE_FILE, and COVM_PASSPHRASE
        with the passphrase itself, are the same.
    """
    from covm.federation import FederationConfig

    home = common.folder
    given = {
        "preset": preset,
        "name": name,
        "membership": None if network is None else "open",
        "network": network,
        "listen_addresses": listen,
    }
    settings = {key: value for key, value in given.items() if value is not None}
    prepare_home(home)
    if settings and config_path(home).exists():
        raise Invalid(
            f"{config_path(home)} exists, and init does not change it; write {', '.join(settings)} into it yourself",
            code="config_exists",
        )
    with as_failures():
        FederationConfig.load(None, environ={}, options=settings)
        created = not key_path(home).exists()
        key = _made_key(common, passphrase_file, encrypt=encrypt) if created else _kept_key(home, encrypt=encrypt)
    if settings:
        # JSON's strings and lists are TOML's, escapes and all, but for characters beyond 16 bits.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items()]
        config_path(home).write_text("".join(lines), encoding="utf-8")
    made = Initialised(
        home=str(home),
        peer_id=key.peer_id,
        did_key=key.did_key,
        created=created,
        config=str(config_path(home)) if config_path(home).exists() else "",
        encrypted=key.is_encrypted,
    )
    if common.json:
        say_json(made)
        return
    say(f"{'made' if created else 'kept'} the node's key: {key.peer_id}{', encrypted' if key.is_encrypted else ''}")
    say(f"home: {safe(home)}{' with config.toml' if made.config else ''}")
    say(f"next: {_next_step(common)}")


def _next_step(common: Common) -> str:
    """What to type now: a node starts once its configuration names a federation, or it is open."""
    from covm.federation import FederationConfig
    from covm.federation.errors import ConfigError

    at = "" if common.home == DEFAULT.home else f" --home {safe(common.folder)}"
    try:
        config = FederationConfig.load(options={"home": str(common.folder)})
    except ConfigError:
        return f"covm doctor{at} says what is wrong with the configuration"
    if config.membership == "open" or config.federation:
        return f"covm federation start{at}"
    return f"covm federation create NAME{at}, or covm federation join LINK{at}"


def _made_key(common: Common, passphrase_file: Path | None, *, encrypt: bool) -> KeyFile:
    from covm.daemon import home_key
    from covm.federation.identity.key_file import KeyFile

    passphrase = key_passphrase.given_for(common.folder, passphrase_file)
    if passphrase is None and encrypt:
        passphrase = key_passphrase.typed_new(common)
    home_key.obtain(common.folder, passphrase)
    return KeyFile.at(key_path(common.folder))


def _kept_key(home: Path, *, encrypt: bool) -> KeyFile:
    from covm.federation.identity.key_file import KeyFile

    key = KeyFile.at(key_path(home))
    if encrypt and not key.is_encrypted:
        raise Invalid(
            f"{key.path} is there and init does not change it; `covm identity passphrase` encrypts it",
            code="key_exists",
        )
    return key
