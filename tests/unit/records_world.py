"""Authors that write records by themselves, and keepers that take them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.unit.membership_world import NOON_MS, key_of, salt

from covm._native import Link, cid
from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.identity.authors import Beginning, First, Written
from covm.federation.identity.cuts import Within
from covm.federation.identity.roles import DEFAULT_RULE, TypeRule
from covm.federation.identity.standing import Erasure
from covm.federation.identity.verdicts import Verdict, valid, void, waiting
from covm.federation.offload import InlineOffload
from covm.federation.store import make_store
from covm.federation.store.interface import Store
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.quotas import Usage
from covm.federation.sync.taken import Taken
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import (
    Auth,
    Hlc,
    Op,
    Place,
    RecordHeader,
    SignedRecord,
    encode_record_body,
    open_records,
    place_of,
    seal_record,
)

FEDERATION = cid(b"the valley")
TYPE = "notes.note"
PLENTY = Usage(10**6, 2**32)


class Anybody:
    """Whoever writes may, but for those that are named."""

    def __init__(self, banned: Iterable[str] = ()) -> None:
        self.banned = set(banned)
        self.owners: dict[str, str] = {}
        """Of authors that share what they wrote; the others own their own."""
        self.approved: dict[Link, list[Erasure]] = {}
        """What members have approved to be erased."""
        self.payers: dict[str, str | None] = {}
        """Of authors that are nodes of a member, or of nobody's; the others have their own quotas."""

    def beginning(self, first: First) -> Beginning:
        return Beginning(
            log=first.log, credential=FEDERATION, member=FEDERATION, entry=first.auth.identity, seq=0, cuts=()
        )

    def written(self, record: SignedRecord, before: Hlc | None, begun: Beginning, seq: int, cuts: Within) -> Written:
        if before is not None and record.body.hlc <= before:
            return Written(verdict=void("its clock goes back"), seq=seq)
        if not self.knows(record.body.auth):
            return Written(verdict=waiting("nobody knows it", record.body.auth.identity), seq=seq)
        if record.author in self.banned:
            return Written(verdict=void("it may not"), seq=seq)
        return Written(verdict=valid("anybody may"), seq=seq)

    def knows(self, auth: Auth) -> bool:
        return auth.identity == FEDERATION

    def rule(self, type_name: str) -> TypeRule:
        return DEFAULT_RULE

    def basis(self, type_name: str, first: First) -> bytes:
        return b"no" if first.author in self.banned else b"yes"

    def ends(self, first: First) -> Iterable[Place]:
        return ()

    def owner(self, first: First) -> str | None:
        return self.owners.get(first.author, first.author)

    def erasures(self) -> Mapping[Link, Sequence[Erasure]]:
        return self.approved

    def payer(self, first: First) -> str | None:
        return self.payers.get(first.author, first.author)

    def auth(self, type_name: str) -> Auth | Verdict:
        return Auth(FEDERATION, FEDERATION)


class Author:
    """Writes records behind whatever it is told, forks and lies included."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = key_of(f"{name}: node")
        self.incarnation = Incarnation(1, hashlib.sha256(name.encode()).digest()[:8])
        self.bodies: dict[Link, bytes | None] = {}
        self.key_id = cid(name.encode())
        """An id of nothing that is held anywhere."""

    def write(
        self,
        key: str,
        value: Any = None,
        *,
        after: SignedRecord | None = None,
        on: Iterable[SignedRecord] = (),
        op: Op = "put",
        **changes: Any,
    ) -> SignedRecord:
        parents = sorted((place_of(each) for each in on), key=lambda each: (each.log.bytes, each.seq, each.id.bytes))
        clocks = [each.body.hlc.time_ms for each in (*on, *([after] if after else []))]
        body = encode_record_body(salt(f"{self.name} {key} {value}"), value) if op != "delete" else None
        fields: dict[str, Any] = {
            "federation": FEDERATION,
            "type": TYPE,
            "key": key,
            "author": self.key.peer_id,
            "incarnation": self.incarnation,
            "seq": after.body.seq + 1 if after else 1,
            "prev": after.id if after else None,
            "parents": tuple(parents),
            "auth": Auth(FEDERATION, FEDERATION),
            "hlc": Hlc(max([NOON_MS, *clocks]) + 1, 0),
            "op": op,
            "body": cid(body) if body is not None else None,
            "size": len(body) if body is not None else 0,
            "target": None,
        }
        [record] = open_records([seal_record(self.key, RecordHeader(**(fields | changes)))])
        assert not isinstance(record, Malformed)
        self.bodies[record.id] = body
        return record


class AtNoon(Clock):
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON_MS
        self.since_start_s = 0.0

    def now_ms(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.since_start_s


class Shelf:
    """A keeper with a store in memory."""

    def __init__(self, authority: Any = None, store: Store | None = None, quota: Usage = PLENTY) -> None:
        self.clock = AtNoon()
        self.told: list[Taken] = []
        self.store = store or make_store(None, "")
        self.authority = authority or Anybody()
        self.counters = Counters()
        self.keeper = Keeper(FEDERATION, self.store, self.authority, InlineOffload(), self.clock, self.counters, quota)
        self.keeper.listeners.append(self.told.append)

    async def open(self) -> Shelf:
        await self.store.open()
        await self.keeper.load()
        return self

    async def reopened(self) -> Shelf:
        """One that begins with what another has left in the store."""
        await self.keeper.load()
        return self

    async def take(
        self, *records: SignedRecord, bodies: Sequence[bytes | None] | None = None, source: str = ""
    ) -> Taken:
        envelopes = [each.envelope for each in records]
        return await self.keeper.take(envelopes, bodies or [None] * len(records), source=source)

    async def heads(self, key: str) -> set[Link]:
        return {
            Link(bytes(row[0]))
            for row in (
                await self.store.read(
                    lambda tx: tx.execute(
                        "SELECT id FROM covm_records WHERE key = :key AND state = 1 AND op < 2 AND superseded = 0",
                        {"key": key},
                    ).all()
                )
            )
        }

    async def states(self) -> dict[Link, tuple[int, bool]]:
        """Of each record: its state, and whether it is superseded."""
        rows = await self.store.read(lambda tx: tx.execute("SELECT id, state, superseded FROM covm_records").all())
        return {Link(bytes(row[0])): (row[1], bool(row[2])) for row in rows}

    async def erased(self) -> dict[Link, Link]:
        """What took whose body away."""
        query = "SELECT id, erased_by, body FROM covm_records WHERE erased_by IS NOT NULL"
        rows = await self.store.read(lambda tx: tx.execute(query).all())
        assert all(row[2] is None for row in rows), "what is erased is not here"
        return {Link(bytes(row[0])): Link(bytes(row[1])) for row in rows}

    async def conflicts(self) -> list[str]:
        """Keys with several heads."""
        return await self.store.read(lambda tx: sorted(tx.execute("SELECT key FROM covm_conflicts").scalars()))

    def root(self) -> bytes:
        return self.keeper.logs.frontier(TYPE).root
