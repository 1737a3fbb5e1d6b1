"""Which approvals give up their room, where one elector's nodes have made too many. Rules: no I/O.

Whoever has an elector's key can fill its room, and what was honestly approved has none then where that comes later.
Once the elector's member or the other founders have said with a cut what is to count, that has its place before what
is void.
"""

from __future__ import annotations

from covm import _native
from covm.federation.identity.approvals import ApprovalLogs
from covm.federation.identity.credentials import Removal
from covm.federation.identity.identities import Identities
from covm.federation.identity.standing import Standing
from covm.federation.identity.verdicts import Status
from covm.federation.wire.record import SignedRecord


def is_kept(record: SignedRecord, elector: _native.Link, identities: Identities, removals: list[Removal]) -> bool:
    """Whether a cut that binds a record's author lists its log up to it, or further.

    `removals` are those of the elector that stand.
    """
    head = identities.head(elector)
    cuts = [each.cut for each in (head.removals if head else ()) if each.node == record.body.author]
    cuts += [each.cut for each in removals]
    return any(place.log == record.body.log and record.body.seq <= place.seq for cut in cuts for place in cut)


def void_ends(approvals: ApprovalLogs, standing: Standing, nodes: set[str]) -> set[_native.Link]:
    """Records of these nodes that are void, and followed by such alone."""
    found: set[_native.Link] = set()
    needed: set[_native.Link | None] = set()
    for record in reversed(list(approvals)):
        is_void = standing.approval_verdict(record.id).status is Status.VOID
        if is_void and record.body.author in nodes and record.id not in needed:
            found.add(record.id)
        else:
            needed.add(record.body.prev)
    return found
