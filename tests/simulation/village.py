"""A federation of members in a world: who founded it, who was let in, and in which roles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tests.unit.members_world import Coop, Valley
from tests.unit.membership_world import salt
from tests.unit.outbox_world import in_time, sees

from covm.federation import Identity
from covm.federation.identity.charter import SignedCharter
from covm.federation.identity.identities import Identities
from covm.federation.identity.roles import Role
from covm.federation.membership.founding import draft_charter, found
from covm.testing import Machine, World

BOOKS = "shared.books"
"""What only the board may read."""

FOUNDERS = ("ada", "ben", "cleo")
STEADY = FOUNDERS[:2]
"""Nobody removes these: they decide about everybody else."""

BOARD, MEMBER, GUEST = "board", "member", "guest"

ROLES = {
    BOARD: Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    MEMBER: Role(publish=("shared.note",), send=("*",), read=("shared.note",), write=("shared.note",)),
    GUEST: Role(read=("shared.note",)),
}


@dataclass(frozen=True)
class Deed:
    """The founding of a village, before its world is there."""

    coops: dict[str, Coop]
    charter: SignedCharter

    @classmethod
    def of(cls, seed: int, names: Sequence[str]) -> Deed:
        """Keys follow from the seed as those of a `World`."""
        coops = {}
        for name in names:
            origin = hashlib.sha256(f"covm.testing/{seed}/identity/{name}".encode()).digest()
            coops[name] = Coop(name, Identity.from_seed(origin).keypair)
        logs = [coops[name].inception for name in FOUNDERS]
        heads = [Identities(logs).head(coops[name].member) for name in FOUNDERS]
        draft = draft_charter(
            "The village", [each for each in heads if each], salt=salt("village"), roles=ROLES, founder_roles=(BOARD,)
        )
        return cls(coops, found(draft, [coops[name].key for name in FOUNDERS], logs))


class Village(Valley):
    """The members and their machines."""

    def __init__(self, world: World, deed: Deed, guests: Sequence[str]) -> None:
        super().__init__(world, deed.coops, deed.charter, FOUNDERS)
        self.guests = frozenset(guests)
        self.name_of = {machine.peer_id: machine.name for machine in world.machines}

    async def gather(self) -> None:
        """Founds it and lets the others in; nothing fails yet."""
        await self.found()
        others = [name for name in self.machines if name not in self.founders]
        for name in others:
            await self.joined(name, by="ada", roles=[GUEST if name in self.guests else MEMBER])
        await in_time(
            lambda: all(
                sees(self[one], self[other]) for one in self.machines for other in self.machines if one != other
            )
        )

    def considers_itself_in(self, machine: Machine) -> bool:
        """Whether a machine's node believes that it is a member's."""
        members = machine.service._node.members if machine.is_up else None
        return members is not None and members.node_verdict(machine.peer_id).holds

    def insiders(self) -> list[Machine]:
        """The machines that believe so."""
        return [machine for machine in self.world.machines if self.considers_itself_in(machine)]
