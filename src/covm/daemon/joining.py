"""An invite is taken up: a node runs for as long as it takes to show it to the node that made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec

from covm.daemon.home_key import HomeKeys
from covm.daemon.homestead import homestead
from covm.daemon.process import load_config
from covm.federation import FederationService
from covm.federation.errors import FederationError
from covm.federation.events import EventStream, MemberAdmitted, PeerConnected, PeerRefused
from covm.federation.membership.invites import Invite

PENDING = "waits for approval"
"""What the inviting node says when founders have to approve."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an invite."""

    state: Literal["member", "pending", "refused", "unanswered"]
    member: str = ""
    roles: tuple[str, ...] = ()
    why: str = ""


async def join(
    home: Path,
    keys: HomeKeys,
    link: str,
    invite: Invite,
    member_name: str | None,
    wait: timedelta,
    configure: Callable[[Path, Mapping[str, str | list[str]]], None],
) -> Outcome:
    """Notes the invite, makes its federation this node's, and shows it. Raises what founding and starting raise."""
    async with homestead(home, keys) as place:
        log = await place.take_invite(link, invite, member_name)
        name = log.head.name if log.head is not None else ""
    settings: dict[str, str | list[str]] = {"membership": "members", "federation": str(invite.federation)}
    if not load_config(home, {}).bootstrap_peers:
        # Who invited is where this node finds the others.
        settings["bootstrap_peers"] = list(invite.addresses)
    configure(home, settings)
    # Only towards the one who invited: nobody else is looked for, and nobody can dial this node meanwhile.
    options = {"listen_addresses": [], "enable_mdns": False, "enable_kademlia": False}
    service = FederationService(keys.identity, load_config(home, options))
    stream = service.events()
    async with service:
        outcome = await _outcome(service, stream, invite.node, wait)
    return msgspec.structs.replace(outcome, member=name)


async def _outcome(service: FederationService, stream: EventStream, inviter: str, wait: timedelta) -> Outcome:
    own = service.members.own()
    if own is not None and own.is_member and inviter in service.connected_peers():
        return Outcome(state="member", roles=own.roles)
    try:
        async with asyncio.timeout(wait.total_seconds()):
            async for event in stream:
                if isinstance(event, PeerRefused) and event.peer == inviter:
                    is_pending = PENDING in event.reason
                    return Outcome(state="pending" if is_pending else "refused", why=event.reason)
                mine = service.members.own()
                if isinstance(event, PeerConnected) and event.peer == inviter and mine is not None and mine.is_member:
                    return Outcome(state="member", roles=mine.roles)
                if isinstance(event, MemberAdmitted) and mine is not None and mine.id == event.member:
                    return Outcome(state="member", roles=event.roles)
    except TimeoutError:
        pass
    return Outcome(state="unanswered", why=_last_error(service, inviter))


def _last_error(service: FederationService, inviter: str) -> str:
    try:
        status = service.get_peer_info(inviter)
    except FederationError:
        return "it was not reached at any of the addresses in the invite"
    return status.last_error or status.why or "it was not reached at any of the addresses in the invite"
