"""A federation of any size, all of it made by its first founder: what the rows about members are measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from covm._native import Keypair
from covm.federation.clock import SeededRandom, SystemClock
from covm.federation.identity.charter import SignedCharter
from covm.federation.identity.drafts import draft_rename
from covm.federation.identity.identities import Identities
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.update import SignedUpdate, open_updates, seal_update
from covm.federation.membership.aside import Item
from covm.federation.membership.founding import MEMBER_ROLE, begin_member, draft_charter, found
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.own import Pen
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import SALT_SIZE

CLOCK = SystemClock()


class Valley:
    """Founders and others, each with one of the nodes that are given, and an identity log of so many entries."""

    def __init__(self, nodes: Sequence[Keypair], founders: int, entries: int) -> None:
        self.nodes = nodes
        self.logs = [_log(f"coop {number}", node, entries) for number, node in enumerate(nodes)]
        self.members = [log[0].id for log in self.logs]
        updates = [entry for log in self.logs for entry in log]
        begun = Identities(updates)
        heads = [head for member in self.members[:founders] if (head := begun.head(member)) is not None]
        charter = draft_charter("Valley", heads, salt=bytes(SALT_SIZE))
        keys = [_key(f"coop {number}") for number in range(founders)]
        self.charter: SignedCharter = found(charter, keys, [entry for log in self.logs[:founders] for entry in log])
        self.items: list[Item] = [entry for log in self.logs[:founders] for entry in log]
        self.items += self._admissions(founders)

    def _admissions(self, founders: int) -> list[Item]:
        ledger, pen = Ledger(self.charter), self.pen(0)
        ledger.take(self.items)
        standing = ledger.standing
        assert standing is not None
        made: list[Item] = []
        for log, member in zip(self.logs[founders:], self.members[founders:], strict=True):
            credential = pen.admission(ledger, member, [MEMBER_ROLE], ())
            approval = pen.approval(ledger, standing, credential)
            ledger.take([approval])
            made += [credential, approval, *log]
        return made

    def pen(self, number: int) -> Pen:
        """With which a founder's node signs."""
        pen = Pen(self.nodes[number], CLOCK, SeededRandom(number))
        pen.incarnation = Incarnation(1, bytes(8))
        return pen


def node_keys(count: int) -> list[Keypair]:
    return [_key(f"node {number}") for number in range(count)]


def _key(text: str) -> Keypair:
    return Keypair.from_seed(hashlib.sha256(text.encode()).digest())


def _log(name: str, node: Keypair, entries: int) -> list[SignedUpdate]:
    key = _key(name)
    inception = begin_member(
        name,
        key,
        next_key=_key(f"{name}: next").peer_id,
        recovery_key=_key(f"{name}: recovery").peer_id,
        node=node,
        node_name=name,
    )
    log = IdentityLog(inception.id)
    log.add(inception)
    made = [inception]
    for number in range(1, entries):
        head = log.head
        assert head is not None
        [update] = open_updates([seal_update(key, draft_rename(head, f"{name}, {number}"))])
        assert isinstance(update, SignedUpdate)
        log.add(update)
        made.append(update)
    return made
