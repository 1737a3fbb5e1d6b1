"""How a node is set up: one frozen value, checked as a whole, made in Python or from file, environment and options.

`model` the configuration · `settings` its fields, how each is read and what is allowed · `presets` · `durations` ·
`sources` where values come from · `loading` how the sources become one configuration.
"""

from covm.federation.config.durations import format_duration, parse_duration
from covm.federation.config.loading import Setting
from covm.federation.config.model import ConnectionRetry, FederationConfig
from covm.federation.config.presets import PRESETS

__all__ = [
    "PRESETS",
    "ConnectionRetry",
    "FederationConfig",
    "Setting",
    "format_duration",
    "parse_duration",
]
