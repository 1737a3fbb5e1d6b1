"""What a message costs before it travels and after it came: its typed payload, its body's bytes, its envelope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.service.figures import Figures
from benchmarks.service.node import Sample
from covm import _native
from covm.federation import Identity
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.federation.wire.registry import TypeRegistry

BATCH = 256


async def codec(count: int) -> Figures:
    """Rates on this thread, one by one, then envelopes in batches (which the core spreads over its threads)."""
    identity, registry, kind = Identity.generate(), TypeRegistry([Sample]), Kind.MESSAGE.value
    sample, federation = Sample(1_700_000_000_000_000_000), open_federation("benchmark").cid

    def encoded() -> bytes:
        name, payload = registry.to_payload(None, sample)
        return encode_body(_body(identity.peer_id, federation, name, payload))

    def decoded() -> object:
        body = decode_body(data)
        return registry.from_payload(body.type, body.payload)

    data = encoded()
    envelope = identity.keypair.seal(kind, [data])[0]
    bodies, envelopes = [data] * BATCH, [envelope] * BATCH
    return {
        "encode_per_s": _per_s(count, encoded),
        "decode_per_s": _per_s(count, decoded),
        "seal_per_s": _per_s(count, lambda: identity.keypair.seal(kind, [data])),
        "open_per_s": _per_s(count, lambda: _native.open_envelopes(kind, [envelope])),
        "seal_batch_per_s": BATCH * _per_s(max(count // BATCH, 1), lambda: identity.keypair.seal(kind, bodies)),
        "open_batch_per_s": BATCH * _per_s(max(count // BATCH, 1), lambda: _native.open_envelopes(kind, envelopes)),
    }


def _per_s(count: int, work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - began_s)


def _body(peer_id: str, federation: _native.Link, name: str, payload: Any) -> MessageBody:
    return MessageBody(
        federation=federation,
        type=name,
        author=peer_id,
        incarnation=Incarnation(1_700_000_000_000, b"\1" * 8),
        seq=1_000,
        mid=b"\2" * 16,
        to=None,
        sent_at=1_700_000_000_000,
        expires_at=None,
        payload=payload,
    )
