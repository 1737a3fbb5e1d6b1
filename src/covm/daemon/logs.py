"""The daemon's log: standard error, one line a record, nothing in it that a terminal would obey."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.types import EventDict, WrappedLogger

from covm.federation.wire.display import shown

HEAD = ("timestamp", "level", "logger", "event")
"""What stands at the front of every line, in this order."""

QUIET = ("asyncio", "uvicorn.error", "uvicorn.access", "alembic")
"""Loggers of libraries that tell their own lives; they are heard from warnings on."""


def configure(level: str) -> None:
    """Sends everything that is logged in this process to standard error, from `level` on."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _one_safe_line,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _one_safe_line(_logger: WrappedLogger, _name: str, record: EventDict) -> str:
    head = [str(record.pop(key, "")) for key in HEAD]
    facts = [f"{key}={value}" for key, value in record.items() if value is not None]
    return shown(" ".join([*head, *facts]))
