"""`FederationConfig`: how one node is set up, checked as a whole when it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from covm.federation.config.presets import preset_settings
from covm.federation.config.settings import SETTINGS, conflicts_of, problems_of, without_password
from covm.federation.errors import ConfigError, ConfigProblem
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD

if TYPE_CHECKING:
    from covm.federation.config.loading import Setting

_ARGUMENT = "argument"


class ConnectionRetry(msgspec.Struct, frozen=True, kw_only=True):
    """How a failed connection is tried again: waits grow from `base_delay` to `max_delay`, with full jitter."""

    max_retries: int = 5
    """Tries after the first; 0 for none. `connect_peer` then raises `ConnectionFailed`."""
    base_delay: timedelta = timedelta(seconds=1)
    """The wait before the second try is random, up to this; it doubles each time."""
    max_delay: timedelta = timedelta(seconds=60)
    """The longest wait."""


class FederationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A node's configuration. Making one checks all of it and raises `ConfigError` with every problem at once.

    In files, environment and options durations are text (`30s`, `1h30m`); here they are `timedelta`.
    """

    home: str | None = None
    """The node's directory, 0700; None: everything in memory, nothing outlives the process."""
    name: str = ""
    """The node's shown name, not unique; empty: the short form of its peer id."""
    membership: Literal["members", "open"] = "members"
    """Who takes part. `members`: those whom the founders of the `federation` let in. `open`: every node that states the
    same `network`; for trials."""
    federation: str = ""
    """The id of the federation: of its charter. `covm federation create` and `join` write it."""
    network: str = "covm"
    """The name that nodes of one open federation share. It is stated, no secret."""
    listen_addresses: list[str] = msgspec.field(
        default_factory=lambda: ["/ip4/0.0.0.0/tcp/9000", "/ip4/0.0.0.0/udp/9000/quic-v1"]
    )
    """Multiaddrs to listen on; port 0 takes a free one; an empty list only dials."""
    announce_addresses: list[str] = msgspec.field(default_factory=list)
    """Multiaddrs at which others reach this node, where it cannot see them itself (port forwarding, a DNS name)."""
    reachability: Literal["auto", "public", "private"] = "auto"
    """Whether others can dial this node: found out, or stated where it cannot be found out."""
    enable_relay: bool = True
    """Carry connections of members whom their routers keep from being dialled, once others can dial this node."""
    enable_hole_punching: bool = True
    """Look for a direct way, through both routers, where a connection goes through a relay."""
    enable_upnp: bool = True
    """Ask the router to open a port, unless `reachability` is `private`."""
    enable_mdns: bool = True
    """Find nodes on the local network."""
    enable_kademlia: bool = True
    """Find nodes through nodes already known."""
    bootstrap_peers: list[str] = msgspec.field(default_factory=list)
    """Multiaddrs, each ending in `/p2p/<peer id>`, that are dialled at start and again whenever they are lost."""
    max_connections: int = 50
    """Peers that may be connected at once, 1 to 10,000; more are refused, and told so."""
    heartbeat_interval: timedelta = timedelta(seconds=30)
    """Two missed heartbeats make a peer suspect, four lost."""
    sync_interval: timedelta = timedelta(seconds=300)
    """How often peers are told again what this node holds of shared data, beside what is told as it comes."""
    message_timeout: timedelta = timedelta(seconds=60)
    """How long a receipt is awaited when the caller does not say."""
    message_time_to_live: timedelta = timedelta(days=7)
    """How long a direct message is tried when the caller does not say."""
    max_message_size: int = MAX_DIRECT_PAYLOAD
    """Bytes of a direct message's payload, sent or taken; larger content goes as a file."""
    max_file_size: int = 16 * 1024**3
    """Bytes of a file that is taken from a peer, if there is room for it; 0: of any size."""
    outbox_max_messages: int = 1_000_000
    """Messages that may wait for one peer; four times as many for all together."""
    outbox_max_bytes: int = 1024 * 1024 * 1024
    """Bytes that may wait for one peer; four times as many for all together."""
    handler_attempts: int = 3
    """How often a handler is given a message before it is quarantined."""
    unhandled_retention: timedelta = timedelta(days=1)
    """How long a message waits here for a handler of its type before it is refused."""
    record_retention: timedelta = timedelta(days=30)
    """How long a value of shared data is kept here after it was replaced or deleted, and longer while a member's node
    has not heard of that; in `open` mode for good."""
    record_quota: int = 2_000_000
    """Records of one type that one member may have here; what is above is declined."""
    record_quota_bytes: int = 4 * 1024**3
    """Bytes of them, with their values as far as those are kept."""
    store_url: str = ""
    """Where the store is: empty for SQLite in the home, or `postgresql://user:password@host/database?schema=covm`."""
    connection_retry: ConnectionRetry = ConnectionRetry()
    """How `connect_peer` and kept peers are tried again."""
    gossip_allowance: int = 5000
    """Messages a second that one author may publish; what is above is not forwarded."""
    gossip_log_size: int = 1000
    """Entries that the gossip log keeps."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    """From which level on the command line's node logs; a program configures `logging` itself."""

    def __post_init__(self) -> None:
        sound: dict[str, Any] = {}
        problems: list[ConfigProblem] = []
        for name, value in flattened(self).items():
            found = list(problems_of(name, value, _ARGUMENT))
            problems += found
            if not found:
                sound[name] = value
        problems += conflicts_of(sound, dict.fromkeys(sound, _ARGUMENT))
        if problems:
            raise ConfigError(problems)

    def __repr__(self) -> str:
        fields = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__)
        return without_password(f"FederationConfig({', '.join(fields)})")

    @property
    def home_path(self) -> Path | None:
        """The home with `~` resolved; None without one."""
        return None if self.home is None else Path(self.home).expanduser()

    @classmethod
    def preset(cls, place: str, /, **changes: Any) -> FederationConfig:
        """A configuration for a place: `local` (one machine), `lan` or `wan`; `changes` are fields that differ.

        Raises `ConfigError`, also for a preset that does not exist.
        """
        try:
            settings = preset_settings(place)
        except ValueError as error:
            raise ConfigError([ConfigProblem("preset", repr(place), str(error), _ARGUMENT)]) from None
        return cls(**{**nested(settings), **changes})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> FederationConfig:
        """The configuration from every source, each above the last: defaults, preset, TOML file, `COVM_*`, options.

        Without `path` the file is `config.toml` in the home, if there is one. `environ` is the process's environment
        when left out. `options` maps settings to text or values; None means not given. Raises `ConfigError` with
        every problem of every source.
        """
        from covm.federation.config import loading

        return loading.load(path, os.environ if environ is None else environ, options or {})

    @classmethod
    def explain(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> list[Setting]:
        """Each setting of what `load` returns, with its value and where it came from. Raises as `load` does."""
        from covm.federation.config import loading

        return loading.explain(path, os.environ if environ is None else environ, options or {})


def flattened(config: FederationConfig) -> dict[str, Any]:
    """A configuration's values by setting name, in the order of `SETTINGS`."""
    retry = config.connection_retry
    values = {}
    for name in SETTINGS:
        outer, _, inner = name.partition(".")
        values[name] = getattr(retry, inner, retry) if inner else getattr(config, outer)
    return values


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name as arguments of `FederationConfig`."""
    arguments = {name: value for name, value in settings.items() if "." not in name}
    retry = {name.partition(".")[2]: value for name, value in settings.items() if "." in name}
    if retry:
        arguments["connection_retry"] = ConnectionRetry(**retry)
    return arguments
