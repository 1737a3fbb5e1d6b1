"""Services of one federation with members, each founder's node one of them; in memory, as without members."""

from __future__ import annotations

import secrets

from benchmarks.service.node import new_service
from covm._native import Keypair
from covm.federation import FederationService, Identity
from covm.federation.identity.identities import Identities
from covm.federation.membership.founding import begin_member, draft_charter, found
from covm.federation.membership.ledger import Ledger
from covm.federation.wire.limits import SALT_SIZE


def federation(count: int) -> list[FederationService]:
    """That many services, not started, whose members have founded a federation together."""
    nodes = [Identity.generate() for _ in range(count)]
    keys = [Keypair.generate() for _ in range(count)]
    logs = [
        begin_member(
            f"member {number}",
            key,
            next_key=Keypair.generate().peer_id,
            recovery_key=Keypair.generate().peer_id,
            node=node.keypair,
            node_name="machine",
        )
        for number, (node, key) in enumerate(zip(nodes, keys, strict=True))
    ]
    identities = Identities(logs)
    heads = [head for log in identities if (head := log.head) is not None]
    charter = found(draft_charter("benchmark", heads, salt=secrets.token_bytes(SALT_SIZE)), keys, logs)
    services = []
    for node in nodes:
        service = new_service(identity=node, membership="members", federation=str(charter.id))
        ledger = Ledger(charter)
        ledger.take(logs)
        members = service._node.members
        if members is not None:
            members.ledger = ledger
        services.append(service)
    return services
