"""Authors who sign records by the thousand; the same ones in every process."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from benchmarks.service.shape import Shape
from covm import _native
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.record import Auth, Hlc, RecordHeader, encode_record, encode_record_body

TYPE = "benchmark.note"
VALUE = "x" * 100

End = tuple[int, bytes]
"""Of a log: records in it, and the id of the last."""


class Records(NamedTuple):
    """What `Keeper.take` takes."""

    envelopes: list[bytes]
    bodies: list[bytes]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.envelopes)) + sum(map(len, self.bodies))


class Writers:
    """The authors of a shape, and how far each has written."""

    def __init__(self, federation: _native.Link, shape: Shape, ends: dict[int, End] | None = None) -> None:
        self.ends = ends or {}
        self._shape = shape
        self._auth = Auth(federation, federation)
        self._federation = federation

    def write(self, author: int, count: int) -> Records:
        """That many more records of an author."""
        key = _native.Keypair.from_seed(hashlib.sha256(b"author %d" % author).digest())
        name, life = key.peer_id, Incarnation(1, author.to_bytes(8, "big"))
        seq, end = self.ends.get(author, (0, b""))
        prev = _native.Link(end) if end else None
        headers: list[bytes] = []
        bodies: list[bytes] = []
        for _ in range(count):
            body = encode_record_body(seq.to_bytes(16, "big"), VALUE)
            header = RecordHeader(
                federation=self._federation,
                type=TYPE,
                key=f"{author}/{seq}",
                author=name,
                incarnation=life,
                seq=seq + 1,
                prev=prev,
                parents=(),
                auth=self._auth,
                hlc=Hlc(self._shape.time_ms(author, seq), 0),
                op="put",
                body=_native.cid(body),
                size=len(body),
                target=None,
            )
            headers.append(encode_record(header))
            bodies.append(body)
            seq, prev = seq + 1, _native.cid(headers[-1])
        if prev is not None:
            self.ends[author] = (seq, prev.bytes)
        return Records(key.seal(Kind.RECORD, headers), bodies)
