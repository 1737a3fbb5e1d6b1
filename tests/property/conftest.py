"""How properties are tried: as often as hypothesis thinks right, and as slowly as a busy machine has to."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("covm", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("covm")
