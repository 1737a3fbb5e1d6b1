"""Records of anybody are verified off the event loop, a batch ahead of the one that is judged and written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from covm import _native
from covm.federation.offload import Offload
from covm.federation.sync.plan import Arrived
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import decode_record_body, open_records

MAX_BATCH: Final = 512
"""Records that are judged and written at once: some 10 ms of the event loop."""


class Verifying:
    """Records that came together. The first batch is begun at once; whoever does not want them any more cancels."""

    def __init__(
        self,
        envelopes: Sequence[bytes],
        bodies: Sequence[bytes | None],
        federation: _native.Link,
        offload: Offload,
    ) -> None:
        self.count = len(envelopes)
        self._envelopes = envelopes
        self._bodies = bodies
        self._federation = federation
        self._offload = offload
        self._next = asyncio.ensure_future(self._batch(0))

    async def batches(self) -> AsyncIterator[list[Arrived]]:
        """Of each batch those whose signature and form hold."""
        for start in range(0, self.count, MAX_BATCH):
            arrived = await self._next
            self._next = asyncio.ensure_future(self._batch(start + MAX_BATCH))
            yield arrived

    def cancel(self) -> None:
        """No batch is begun any more."""
        self._next.cancel()

    async def _batch(self, start: int) -> list[Arrived]:
        some, theirs = self._envelopes[start : start + MAX_BATCH], self._bodies[start : start + MAX_BATCH]
        return await self._offload.run(lambda: sound_ones(some, theirs, self._federation)) if some else []


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
