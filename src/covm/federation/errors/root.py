"""The root of the tree of errors."""

from __future__ import annotations


class FederationError(Exception):
    """The root of every error that covm raises."""
