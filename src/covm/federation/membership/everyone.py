"""`open` mode: whoever states the same network name may take part and do everything; for trials."""

# ruff: noqa: ARG002 - it answers without looking
from __future__ import annotations

from collections.abc import Callable
from typing import Final

from covm.federation.identity.roles import Action
from covm.federation.identity.verdicts import Verdict, valid
from covm.federation.wire.membership import MembershipFrame

_OPEN: Final = valid("membership is open")


class Everyone:
    """The `Membership` of a node for trials: nobody is a member, and everybody may."""

    @property
    def digest(self) -> bytes | None:
        return None

    def node_verdict(self, peer: str) -> Verdict:
        return _OPEN

    def may(self, peer: str, action: Action, type_name: str) -> Verdict:
        return _OPEN

    def everyone_may_read(self, type_name: str) -> bool:
        return True

    def why_not_gossip(self, author: str, type_name: str) -> str:
        return ""

    def durable(self, type_name: str) -> bool | None:
        return None

    def is_agreed(self, type_name: str) -> bool:
        return False

    def readers(self, type_name: str) -> list[str]:
        return []

    def member_of(self, peer: str) -> str | None:
        return None

    def nodes_of(self, member: str) -> list[str]:
        return []

    def heard_digest(self, peer: str, digest: bytes | None) -> None:
        """There is nothing to compare."""

    def received(self, peer: str, frame: MembershipFrame) -> None:
        """There is nothing to answer."""

    def wanted(self, peer: str) -> None:
        """There is nothing to ask."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Nothing changes."""
