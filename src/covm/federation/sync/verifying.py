"""What came, verified: whether records are what their authors signed, and bodies theirs. Rules: no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from covm import _native
from covm.federation.sync.plan import Arrived
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import decode_record_body, open_records


def sound_ones(envelopes: Sequence[bytes], bodies: Sequence[bytes | None], federation: _native.Link) -> list[Arrived]:
    """Those whose signature and form hold, with the bodies that are theirs."""
    found: list[Arrived] = []
    for record, body in zip(open_records(envelopes), bodies, strict=True):
        if isinstance(record, Malformed) or record.body.federation != federation:
            continue
        if body is not None:
            try:
                decode_record_body(body, record.body)
            except Malformed:
                continue
        found.append(Arrived(record, body))
    return found
