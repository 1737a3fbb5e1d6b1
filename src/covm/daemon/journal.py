"""What happens in the federation, written to the log; and the one event that ends the process."""

from __future__ import annotations

import logging

from covm.federation import FederationService, errors, events

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


async def keep(service: FederationService) -> None:
    """Logs every event until the node stops. Raises `NodeFailed` when the network core ended by itself."""
    async for event in service.events():
        level = logging.WARNING if isinstance(event, WARNINGS) else logging.INFO
        logger.log(level, "%s", event)
        if isinstance(event, events.NodeFailed):
            raise errors.NodeFailed(event.reason)
