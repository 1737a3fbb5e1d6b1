"""The control API about records in files, version 1; see `covm.control.schema`. Paths are absolute, at the node.

| request | body | answer |
|---|---|---|
| POST /v1/records/export | `Export` | `Exported` |
| POST /v1/records/import | `Import` | `Imported` |
"""

from __future__ import annotations

from pathlib import Path

from covm.control.schema import Versioned
from covm.control.transport import Transport

FILE_TIMEOUT_S = 24 * 3600.0
"""How long an export or an import may take: it goes through all records of a type."""


class Export(Versioned, kw_only=True, frozen=True):
    """Write all records of a type to a file."""

    type: str
    path: str


class Exported(Versioned, kw_only=True, frozen=True):
    """A file with records."""

    type: str
    path: str
    root: str
    """The CID that leads to all of it."""
    records: int
    left_out: int
    """Records in it without their value, which is not held any more."""
    size_bytes: int


class Import(Versioned, kw_only=True, frozen=True):
    """Take the records in a file."""

    path: str


class Imported(Versioned, kw_only=True, frozen=True):
    """What became of the records in a file."""

    type: str
    path: str
    root: str
    records: int
    new: int
    """Records that were not here."""
    completed: int
    """Records that were here without their value, and have it now."""
    refused: int
    """Records that have no place here."""
    left_out: int
    """Records in it without their value."""
    postponed: int
    """Logs of which records are to be imported again: too many wait to be judged."""


class RecordFiles:
    """The part of `ControlClient` that is about records in files."""

    _node: Transport

    def export_records(self, type_name: str, path: Path) -> Exported:
        """Writes all records of a type to a file. Raises `NotFound` where there are none."""
        asked = Export(type=type_name, path=str(path))
        return self._node.ask(Exported, "POST", "/v1/records/export", asked, timeout_s=FILE_TIMEOUT_S)

    def import_records(self, path: Path) -> Imported:
        """Takes the records in a file. Raises `Invalid` for one that is no export, or was altered."""
        asked = Import(path=str(path))
        return self._node.ask(Imported, "POST", "/v1/records/import", asked, timeout_s=FILE_TIMEOUT_S)
