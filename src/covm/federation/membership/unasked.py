"""What may be shown to a node at the door that has not asked for it, and how much of it. Rules: no I/O.

Of a log that is longer, the end goes: who was here once has the beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from covm import _native
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.standing import Standing
from covm.federation.identity.update import SignedUpdate, nodes_of
from covm.federation.membership.aside import Item
from covm.federation.membership.ledger import Ledger, give_of
from covm.federation.wire.membership import MAX_JOIN_BYTES, MAX_JOIN_ENTRIES, MembersGive
from covm.federation.wire.record import SignedRecord


def introduction(log: IdentityLog) -> MembersGive:
    """A member's log, or the end of it."""
    return _shown([], [_back([*log.updates()])])


def is_introduction(give: MembersGive) -> bool:
    """Whether this may be shown by who was not asked for it."""
    return 0 < give.count == len(give.entries) and is_little(give)


def is_little(give: MembersGive) -> bool:
    """Whether this is as little as may be shown at all."""
    return give.count <= MAX_JOIN_ENTRIES and give.size_bytes <= MAX_JOIN_BYTES


def farewell(ledger: Ledger, standing: Standing, peer: str) -> MembersGive | None:
    """What shows a node that was a member's that it is no more; it names nobody else.

    The removals of its member, with the approvals that count and as much as has room of what comes before these in
    their logs; or the end of its member's identity log, by which it is none of its nodes. None for who never was one,
    and where a removal has no room: its cut lists hundreds of logs.
    """
    if not ledger.has_had(peer) or standing.node_verdict(peer).holds:
        return None
    membership = standing.nodes.get(peer)
    if membership is None:
        give = _shown([], [_back([*log.updates()]) for log in ledger.identities if _has_had(log, peer)])
        return give if give.count else None
    removals = [ledger.credentials[each] for each in membership.removals]
    wanted = {str(each.id) for each in removals}
    approvals = [each for each in ledger.approvals if each.body.key in wanted]
    counted = [each for each in approvals if standing.approval_verdict(each.id).holds]
    give = _shown(removals, [_before(ledger, each) for each in counted])
    return give if give.count > len(removals) else None


def _shown(first: Iterable[Item], logs: Iterable[Iterator[Item]]) -> MembersGive:
    """What has room of these: the first, and then of each log from its end, one as much as the other."""
    chosen: dict[_native.Link, Item] = {}
    size_bytes = 0
    for item in [*first, *(each for row in zip_longest(*logs) for each in row if each is not None)]:
        if item.id in chosen:
            continue
        size_bytes += len(item.envelope)
        if size_bytes > MAX_JOIN_BYTES or len(chosen) == MAX_JOIN_ENTRIES:
            break
        chosen[item.id] = item
    return give_of(reversed(chosen.values()))


def _back(updates: list[SignedUpdate]) -> Iterator[SignedUpdate]:
    return reversed(updates)


def _before(ledger: Ledger, approval: SignedRecord) -> Iterator[SignedRecord]:
    at: SignedRecord | None = approval
    while at is not None:
        yield at
        at = ledger.approvals.before(at)


def _has_had(log: IdentityLog, node: str) -> bool:
    """Whether a node was the member's: removed since, or added on a branch that lost."""
    return any(each.node == node for update in log.held() for each in nodes_of(update.body))
