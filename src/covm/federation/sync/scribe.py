"""`Scribe`: writes this node's own records. Writes that come together share one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from covm import _native
from covm.federation.clock import Clock, Random
from covm.federation.errors import InvalidMessage, MessageTooLarge, NotAuthorized, QuotaExceeded, StoreError
from covm.federation.identity.verdicts import Status, Verdict
from covm.federation.supervisor import attempt_async
from covm.federation.sync.intake import Intake
from covm.federation.sync.judging import MAX_ERASE_BODY, MAX_OPEN, Known, is_open
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.logs import First, Log
from covm.federation.sync.plan import Arrived, Row
from covm.federation.sync.quotas import Usage
from covm.federation.sync.rows import Found
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD, MAX_PARENTS, SALT_SIZE, clamped_ms
from covm.federation.wire.record import (
    Auth,
    Hlc,
    Op,
    Place,
    RecordHeader,
    SignedRecord,
    encode_record,
    encode_record_body,
    log_id,
)
from covm.federation.wire.record_key import key_problem

if TYPE_CHECKING:
    from covm.federation.store.interface import Job

MAX_GROUP: Final = 256
"""Writes of one commit."""

SEAL_BYTES: Final = 128
"""What an envelope has around a header, and a little more."""

HEADER_BYTES: Final = 1024
"""As much as a record has beside its value, unless it is based on very many."""

PLACE_BYTES: Final = 96
"""As much as a header has for each record that it is based on."""


class Write(NamedTuple):
    """What somebody wants to be written."""

    type: str
    key: str
    op: Op
    value: Any
    based_on: tuple[Place, ...] | None
    """What it replaces; None for all that this node has written of the key and that stands."""
    also: Job[object] | None = None
    """What is written in the same commit."""
    target: SignedRecord | None = None
    """What it erases."""
    is_promised: bool = False
    """Whether there was room for it when it was handed in: then it is written however much has come since."""


class Written(NamedTuple):
    """A record of this node's, and whether it counts already: it waits where the clock had been ahead."""

    record: SignedRecord
    verdict: Verdict


class Scribe:
    """This node's pen."""

    def __init__(
        self,
        keeper: Keeper,
        keypair: _native.Keypair,
        incarnation: Callable[[], Incarnation],
        clock: Clock,
        random: Random,
    ) -> None:
        self._keeper = keeper
        self._keypair = keypair
        self._incarnation = incarnation
        self._clock = clock
        self._random = random
        self._queue: list[tuple[Write, asyncio.Future[Written]]] = []
        self._writing: asyncio.Future[None] | None = None
        """While something waits: one writes for all, and who is cancelled takes nobody with it."""

    async def write(self, write: Write) -> Written:
        """Writes one record; it is on disk when this returns.

        Raises `NotAuthorized`, `MessageTooLarge`, `InvalidMessage`, `QuotaExceeded`, with nothing written, and
        `StoreError`: then it may be written all the same.
        """
        if (problem := key_problem(write.key)) is not None:
            raise InvalidMessage(write.type, "key", problem)
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._queue.append((write, done))
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write_groups())
        return await done

    async def _write_groups(self) -> None:
        """Writes until nothing waits: what comes in one turn of the loop, or during a commit, shares the next."""
        try:
            while self._queue:
                async with self._keeper.turn:
                    await self._write_group()
        finally:
            self._writing = None
            for _, done in self._queue:
                done.cancel()  # only where the loop itself ends
            self._queue.clear()

    def require_room(self, type_name: str, records: int, size_bytes: int, *, clears: bool = False) -> None:
        """Raises `QuotaExceeded` where so many more records, with values of so many bytes, have no room.

        Called on any thread: it reads only.
        """
        authority, author = self._keeper.authority, self._keypair.peer_id
        if isinstance(auth := authority.auth(type_name), Verdict):
            raise NotAuthorized(f"writing {type_name}", auth.reason)
        log = log_id(type_name, author, self._incarnation())
        holder = self._keeper.quotas.holder(type_name, First(log, author, auth))
        more = Usage(records, records * HEADER_BYTES)
        full = self._keeper.quotas.full(holder, more, size_bytes, clears=clears)
        if full is not None:
            raise QuotaExceeded(*full)

    async def _write_group(self) -> None:
        """Writes what waits, as much as one commit takes; a write that fails does so alone, and its caller hears it."""
        group, self._queue = self._queue[:MAX_GROUP], self._queue[MAX_GROUP:]
        try:
            error = await attempt_async(self._write_together, group)
            # What the disk did not take, it takes from none of them; anything else is the fault of one.
            if error is not None and len(group) > 1 and not isinstance(error, StoreError):
                for each in group:
                    if (why := await attempt_async(self._write_together, [each])) is not None:
                        _fail(each[1], why)
                return
        except BaseException:
            for _, done in group:
                done.cancel()
            raise
        if error is not None:
            for _, done in group:
                _fail(done, error)

    async def _write_together(self, group: Sequence[tuple[Write, asyncio.Future[Written]]]) -> None:
        """Plans all and commits them at once, but for those that may not be written."""
        written: list[tuple[asyncio.Future[Written], _native.Link]] = []
        unsealed: dict[_native.Link, bytes] = {}
        await self._keeper.settle()
        pending = [(write, done) for write, done in group if not done.done()]
        intake = self._keeper.intake(await self._look_up([write for write, _ in pending]))
        for write, done in pending:
            try:
                written.append((done, self._one(intake, write, unsealed)))
            except (NotAuthorized, MessageTooLarge, InvalidMessage, QuotaExceeded) as error:
                _fail(done, error)
        rows = intake.plan.rows
        self._seal(rows, unsealed)
        plan = intake.told()
        done_with = {done for done, _ in written}
        plan.also += [write.also for write, done in pending if write.also is not None and done in done_with]
        try:
            await self._keeper.keep(plan)
        except Exception as error:
            # It may be on disk all the same: none of them is written once more.
            for done in done_with:
                _fail(done, error)
            raise
        for done, record in written:
            if not done.done():
                done.set_result(Written(rows[record].arrived.record, rows[record].verdict))

    def _seal(self, rows: Mapping[_native.Link, Row], unsealed: Mapping[_native.Link, bytes]) -> None:
        """Signs what a group came to, all at once: many are spread over the processors, and one waits for nothing."""
        envelopes = self._keypair.seal(Kind.RECORD, list(unsealed.values()))
        for record, envelope in zip(unsealed, envelopes, strict=True):
            arrived = rows[record].arrived
            sealed = msgspec.structs.replace(arrived.record, envelope=envelope)
            rows[record].arrived = arrived._replace(record=sealed)

    async def _look_up(self, writes: Sequence[Write]) -> Found:
        keys = [(write.type, write.key) for write in writes]
        ids = [place.id for write in writes for place in write.based_on or ()]
        targets = {write.target.id: (write.type, write.key) for write in writes if write.target is not None}
        types = {write.type for write in writes}
        own = [log.link for log in self._keeper.logs if log.author == self._keypair.peer_id and log.type in types]
        return await self._keeper.look_up([*ids, *targets], keys, own, targets)

    def _one(self, intake: Intake, write: Write, unsealed: dict[_native.Link, bytes]) -> _native.Link:
        """Plans one write; the record's id, whose bytes are to be sealed yet."""
        auth = self._keeper.authority.auth(write.type)
        if isinstance(auth, Verdict):
            raise NotAuthorized(f"writing {write.type}", auth.reason)
        log = self._log(intake, write.type, auth)
        if not len(log.branches) and (why := intake.quota.why_no_log(write.type, self._keypair.peer_id)):
            raise InvalidMessage(write.type, "", f"{why}; write it under a type that is there already")
        body = None
        if write.target is not None:
            self._require_own(intake, write.target, log, auth)
        if write.op != "delete":
            limit = min(self._keeper.authority.rule(write.type).size_limit_bytes, MAX_DIRECT_PAYLOAD)
            limit = MAX_ERASE_BODY if write.op == "erase" else limit
            try:
                body = encode_record_body(self._random.bytes(SALT_SIZE), write.value)
            except (ValueError, _native.EncodeError) as error:
                raise InvalidMessage(write.type, "", str(error)) from None
            if len(body) > limit:
                raise MessageTooLarge(write.type, len(body), limit)
        parents = [] if write.op == "erase" else self._parents(intake, write, log)
        if len(parents) > MAX_PARENTS and not write.is_promised:
            more = -(-(len(parents) - MAX_PARENTS) // (MAX_PARENTS - 1))
            size_bytes = len(parents) * PLACE_BYTES + len(body or b"")
            self.require_room(write.type, 1 + more, size_bytes, clears=write.op != "put")
            write = write._replace(is_promised=True)  # all of them, or none
        # Whoever erases the value later erases all of it: what closes the first of many versions says none.
        closing = write._replace(op="delete", value=None)
        while len(parents) > MAX_PARENTS:
            closed = self._placed(intake, closing, self._log(intake, write.type, auth), auth, None, parents, unsealed)
            parents = [closed, *parents[MAX_PARENTS:]]
        log = self._log(intake, write.type, auth)
        return self._placed(intake, write, log, auth, body, parents, unsealed).id

    def _placed(
        self,
        intake: Intake,
        write: Write,
        log: Log,
        auth: Auth,
        body: bytes | None,
        parents: Sequence[Known],
        unsealed: dict[_native.Link, bytes],
    ) -> Known:
        """One more record in the plan, based on as many parents as fit."""
        data, record = self._unsealed(write, log, auth, body, parents[:MAX_PARENTS])
        full = intake.quota.full(record.body, len(data) + SEAL_BYTES, len(body or b""))
        if full is not None and not write.is_promised:
            raise QuotaExceeded(*full)
        intake.quota.promise(record.id)
        unsealed[record.id] = data
        intake.take([Arrived(record, body)])
        row = intake.plan.rows.get(record.id)
        if row is None:
            why = "this node's clock is behind what it wrote before, and too many records wait to be judged"
            raise InvalidMessage(write.type, "", f"{why}: set the clock right")
        if row.verdict.status is Status.VOID:
            # Every rule that it could break was asked before.
            raise RuntimeError(f"a record of this node is not valid: {row.verdict.reason}")
        return row.known

    def _require_own(self, intake: Intake, target: SignedRecord, log: Log, auth: Auth) -> None:
        """Raises `NotAuthorized` for what another member wrote, `InvalidMessage` for what has no value."""
        header, author = target.body, self._keypair.peer_id
        if header.body is None:
            raise InvalidMessage(header.type, "", "that version says no value: there is nothing to erase")
        own = self._keeper.authority.owner(First(log.link, author, auth))
        if own is None or intake.owner_of_id(target.id) != own:
            raise NotAuthorized(
                f"erasing {header.key!r}",
                "only who wrote a value may erase it, a node of that member; the founders can approve it, see "
                "`members.erase` and `covm federation records erase`",
            )

    def _unsealed(
        self, write: Write, log: Log, auth: Auth, body: bytes | None, parents: Sequence[Known]
    ) -> tuple[bytes, SignedRecord]:
        """The bytes of a header, and its record, which has no envelope yet."""
        last = log.last()
        clocks = [known.hlc for known in parents]
        if last is not None and last[2].hlc is not None:
            clocks.append(last[2].hlc)
        hlc = Hlc(clamped_ms(self._clock.now_ms()), 0)
        if clocks and (latest := max(clocks)) >= hlc:
            hlc = latest.following
        header = RecordHeader(
            federation=self._keeper.federation,
            type=write.type,
            key=write.key,
            author=self._keypair.peer_id,
            incarnation=log.incarnation,
            seq=last[0].seq + 1 if last else 1,
            prev=last[1] if last else None,
            parents=tuple(
                sorted(
                    (known.place for known in parents),
                    key=lambda place: (place.log.bytes, place.seq, place.id.bytes),
                )
            ),
            auth=auth,
            hlc=hlc,
            op=write.op,
            body=None if body is None else _native.cid(body),
            size=0 if body is None else len(body),
            target=None if write.target is None else write.target.id,
        )
        data = encode_record(header)
        return data, SignedRecord(id=_native.cid(data), author=header.author, body=header, envelope=b"")

    def _parents(self, intake: Intake, write: Write, log: Log) -> list[Known]:
        """What the write is based on; with it what its own log has left open and does not stand any more.

        What its own log has left open comes first: a record that closes the first of many must not leave too many.
        What this node wrote while its clock was ahead is held, and will count: here it does so already.
        """
        of_key = intake.known_of(write.type, write.key)
        own = [_counting(each, of_key) for each in of_key if intake.author_of(each) == self._keypair.peer_id]
        mine = [each for each in own if each.counts]
        if write.based_on is None:
            based = [each for each in mine if not each.superseded]
        else:
            wanted = {place.id for place in write.based_on}
            based = [each for each in of_key if each.id in wanted]
            if len(based) < len(wanted):
                raise InvalidMessage(write.type, "", f"what the write of {write.key!r} is based on is not here")
        last = log.last()
        left_open = [each for each in own if each.log == log.link and last and is_open(each, last[0], log.branches)]
        replaced = [each for each in left_open if each.superseded or not each.counts]
        named = {each.id: each for each in (*based, *replaced)}
        parents = list({each.id: each for each in (*left_open, *named.values()) if each.id in named}.values())
        if sum(each.id not in named for each in left_open) >= MAX_OPEN:
            raise InvalidMessage(
                write.type, "", f"{MAX_OPEN} versions of {write.key!r} stand side by side already: resolve them first"
            )
        return parents

    def _log(self, intake: Intake, type_name: str, auth: Auth) -> Log:
        """The log to go on with: another where the last began under another credential."""
        incarnation = self._incarnation()
        while True:
            log = intake.log(type_name, self._keypair.peer_id, incarnation)
            if not len(log.branches) or all(first.credential == auth.credential for first in log.firsts.values()):
                return log
            incarnation = Incarnation(incarnation.number + 1, incarnation.nonce)


def _counting(known: Known, of_key: Sequence[Known]) -> Known:
    """One of this node's own records, as it will be once all that is held is judged."""
    behind = [each for each in of_key if not each.is_judged and known.id in each.parents]
    return known._replace(
        counts=known.counts or not known.is_judged,
        superseded=known.superseded or bool(behind),
    )


def _fail(done: asyncio.Future[Written], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()
