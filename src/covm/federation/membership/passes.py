"""Passes: a member's word to every relay that whoever holds an invite may be carried to it. Rules: no I/O.

Who is invited is a stranger to everybody, and where the node that invites stands behind a router, the only way to it
leads through a relay, which serves members. So the invite carries a *pass*, signed by the node that made it. It names
the federation and a key that follows from the invite's secret. Its holder signs with that key, for each relay anew,
that it is who knocks there: a pass that somebody overhears is worth nothing.

    pass    v 1 · federation link · author: the node that invites · key: peer id of the invite's key
            circuits: how many an hour · expires_at: milliseconds since 1970-01-01 UTC
    proof   v 1 · author: peer id of the invite's key · grant link: the pass · relay, joiner: peer ids
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from covm import _native
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_TIME_MS
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import RelayPass
from covm.federation.wire.signed import PeerId, Signed, open_all, read_map, seal, write_map

PASS_VERSION: Final = 1

MOST_CIRCUITS: Final = 60
"""Circuits an hour that a relay gives to one pass, whatever it says."""

CIRCUITS_PER_USE: Final = 10
"""An hour, for each member that an invite lets in: a join takes one, and may fail or wait for approvals."""


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """What a node signs that invites."""

    federation: _native.Link
    author: PeerId
    key: PeerId
    circuits: Annotated[int, msgspec.Meta(ge=1, le=MOST_CIRCUITS)]
    expires_at: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
    v: int = PASS_VERSION


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the pass's holder signs for one relay."""

    author: PeerId
    grant: _native.Link
    relay: PeerId
    joiner: PeerId
    v: int = PASS_VERSION


def key_of(secret: bytes) -> _native.Keypair:
    """The key that follows from an invite's secret."""
    return _native.Keypair.from_seed(hashlib.sha256(b"covm relay pass" + secret).digest())


def seal_pass(
    node: _native.Keypair, federation: _native.Link, secret: bytes, circuits: int, expires_at_ms: int
) -> bytes:
    """The pass of an invite, in its envelope."""
    body = Pass(
        federation=federation,
        author=node.peer_id,
        key=key_of(secret).peer_id,
        circuits=min(circuits, MOST_CIRCUITS),
        expires_at=expires_at_ms,
    )
    return seal(node, Kind.RELAY_GRANT, write_map(body))


def show_pass(grant: bytes, secret: bytes, relay: str, joiner: str) -> RelayPass | None:
    """What is said to a relay; None where the invite's pass is none."""
    [opened] = open_all(Kind.RELAY_GRANT, [grant], _read_pass, _author)
    if isinstance(opened, Malformed):
        return None
    key = key_of(secret)
    proof = Proof(author=key.peer_id, grant=opened.id, relay=relay, joiner=joiner)
    return RelayPass(grant=grant, proof=seal(key, Kind.RELAY_PROOF, write_map(proof)))


def read_shown(shown: RelayPass, federation: _native.Link, relay: str, joiner: str, now_ms: int) -> Signed[Pass] | str:
    """The pass that somebody shows to a relay; why it is none, as a sentence that it is told.

    Whether its author is a member's node the caller looks at.
    """
    [grant] = open_all(Kind.RELAY_GRANT, [shown.grant], _read_pass, _author)
    if isinstance(grant, Malformed):
        return f"your pass cannot be read: {grant.reason}"
    if grant.body.federation != federation:
        return "your pass is of another federation"
    if now_ms > grant.body.expires_at:
        return "your pass has expired: ask for another invite"
    [proof] = open_all(Kind.RELAY_PROOF, [shown.proof], _read_proof, _author)
    if isinstance(proof, Malformed):
        return f"you do not prove that the pass is yours: {proof.reason}"
    said = (proof.body.author, proof.body.grant, proof.body.relay, proof.body.joiner)
    if said != (grant.body.key, grant.id, relay, joiner):
        return "you do not prove that the pass is yours: the proof is for another pass, relay or node"
    return grant


def relays_of(addresses: Iterable[str]) -> set[str]:
    """The relays through which addresses lead."""
    ways = (address.partition("/p2p-circuit")[0] for address in addresses if "/p2p-circuit" in address)
    return {relay for way in ways if (relay := way.rpartition("/p2p/")[2]) != way}


def _author(body: Pass | Proof) -> str:
    return body.author


def _read_pass(data: bytes) -> Pass:
    found: Pass = read_map(data, Pass, "the pass", PASS_VERSION)
    return found


def _read_proof(data: bytes) -> Proof:
    found: Proof = read_map(data, Proof, "the proof", PASS_VERSION)
    return found
