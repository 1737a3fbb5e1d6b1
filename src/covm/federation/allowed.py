"""What this node and its recipients may do, asked before anything is sent."""

from __future__ import annotations

from covm.federation.errors import NotAMember, NotAuthorized
from covm.federation.identity.roles import Action
from covm.federation.ports import Membership


def require(membership: Membership, peer_id: str, action: Action, type_name: str) -> None:
    """Raises `NotAMember` or `NotAuthorized` where this node may not do this with a type."""
    verdict = membership.may(peer_id, action, type_name)
    if verdict.holds:
        return
    standing = membership.node_verdict(peer_id)
    if not standing.holds:
        raise NotAMember(f"this node takes no part in the federation: {standing.reason}")
    raise NotAuthorized(f"to {action.value} {type_name}", verdict.reason)


def require_recipient(membership: Membership, peer_id: str, type_name: str) -> None:
    """Raises `NotAMember` or `NotAuthorized` where a node may not be sent a message of a type."""
    verdict = membership.node_verdict(peer_id)
    if not verdict.holds:
        raise NotAMember(f"{peer_id} takes no part in the federation: {verdict.reason}")
    may_read = membership.may(peer_id, Action.READ, type_name)
    if not may_read.holds:
        raise NotAuthorized(f"sending {type_name} to {peer_id}", f"it may not read it: {may_read.reason}")
