"""What happens in the federation, written to the log; and the one event that ends the process."""

from __future__ import annotations

import logging

from covm.federation import EventStream, errors, events

logger = logging.getLogger("covm.daemon")

WARNINGS = (
    events.HandlerFailed,
    events.PayloadMismatched,
    events.MessageRejected,
    events.MessagesDropped,
    events.EventsDropped,
    events.PeerRefused,
)
"""What an operator may have to do something about."""


async def keep(happenings: EventStream) -> None:
    """Logs every event until the node stops. Raises `NodeFailed` when the network core ended by itself."""
    async for event in happenings:
        level = logging.WARNING if isinstance(event, WARNINGS) else logging.INFO
        logger.log(level, "%s", event)
        if isinstance(event, events.NodeFailed):
            raise errors.NodeFailed(event.reason)
