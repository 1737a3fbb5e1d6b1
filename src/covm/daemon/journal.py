"""What happens in the federation, written to the log; and the one event that ends the process."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from covm.federation import EventStream, errors, events

logger = logging.getLogger("covm.daemon")

WARNINGS = (
    events.HandlerFailed,
    events.PayloadMismatched,
    events.MessageRejected,
    events.MessagesDropped,
    events.MessageQuarantined,
    events.RolledBack,
    events.PeerRolledBack,
    events.ReceivedLess,
    events.StoreTroubled,
    events.FileFailed,
    events.EventsDropped,
    events.PeerRefused,
)
"""What an operator may have to do something about."""

TOO_MANY = (events.FileProgressed,)
"""What comes several times a second, and is no news."""


async def keep(happenings: EventStream, hear: Callable[[events.Event], Awaitable[None]]) -> None:
    """Logs every event until the node stops, and lets `hear` know of it.

    Raises `NodeFailed` when the network core ended by itself.
    """
    async for event in happenings:
        await hear(event)
        if isinstance(event, TOO_MANY):
            continue
        level = logging.WARNING if isinstance(event, WARNINGS) else logging.INFO
        logger.log(level, "%s", event)
        if isinstance(event, events.NodeFailed):
            raise errors.NodeFailed(event.reason)
