"""A node's consent to be a member's: without it, a member could claim another's node and speak for it.

A canonical DAG-CBOR map, sealed by the node's key in an envelope of the kind `/covm/consent`:

    v           1
    author      text: the node's peer id
    member_key  text: the key that signed, or will sign, the member's inception

It names the first key, because the member's id is not there before the inception is, and the inception holds the
consents of its nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from covm import _native
from covm.federation.wire.kinds import Kind
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.signed import PeerId, Signed, open_all, read_map, seal, write_map

CONSENT_VERSION: Final = 1


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """That the node `author` belongs to the member whose inception `member_key` signs."""

    author: PeerId
    member_key: PeerId
    v: int = CONSENT_VERSION


def seal_consent(node: _native.Keypair, member_key: str) -> bytes:
    """The envelope in which a node consents to be a node of the member that began with this key."""
    return seal(node, Kind.CONSENT, write_map(Consent(author=node.peer_id, member_key=member_key)))


def decode_consent(data: bytes) -> Consent:
    """The consent in these bytes. Raises `Malformed`."""
    consent: Consent = read_map(data, Consent, "the consent", CONSENT_VERSION)
    return consent


def open_consents(envelopes: Sequence[bytes]) -> list[Signed[Consent] | Malformed]:
    """The consent in each envelope, its author being the signer; `Malformed` in the place of one that is none."""
    return open_all(Kind.CONSENT, envelopes, decode_consent, lambda consent: consent.author)
