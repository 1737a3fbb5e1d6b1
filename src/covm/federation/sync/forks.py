"""Forks: who wrote two records at one place of a log. Both are kept, and with their signatures they are the proof.

Nothing else has to be stored for it: a log's branches say where it parts, and the records are there. An author gives
away 15 forks a log and no more, since a log has 16 branches.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from covm import _native
from covm.federation.errors import FileUnusable, UnknownFork
from covm.federation.events import EquivocationFound, EventHub
from covm.federation.identity.branches import Spot
from covm.federation.offload import Offload
from covm.federation.sync.logs import Log
from covm.federation.wire.fork_proof import ForkProof, write_proof
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord, decode_record_body, open_records

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction
    from covm.federation.sync.keeper import Keeper
    from covm.federation.sync.taken import Taken

MAX_LISTED: Final = 1000
"""Forks of one list."""

FILE_MODE: Final = 0o644
"""Of a proof: it is made to be shown."""


@dataclass(frozen=True, slots=True)
class ForkedRecord:
    """One of the two."""

    id: str
    """The record's id."""
    key: str
    """What it is about."""
    op: str
    """put, delete or erase."""
    written_at_ms: int
    """By the author's clock, in milliseconds since 1970-01-01 UTC."""
    value: Any
    """What it says; None for a delete, and where the value is not held."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Two records that one node signed, of which it may have signed one."""

    id: str
    """The id of the one that came later here."""
    type: str
    """The type of both."""
    author: str
    """The peer id of the node that signed them."""
    member: str | None
    """The member whose node that is now; None in `open` mode, and for one that is not known any more."""
    seq: int
    """The number that both have in their log."""
    records: tuple[ForkedRecord, ForkedRecord]
    """The one that was here first, and the other."""


class Parting(NamedTuple):
    """Where a log parts."""

    log: Log
    one: Spot
    other: Spot


def partings(log: Log) -> Iterator[Parting]:
    """Where a log parts: for each branch but the first, its first record and the one that stood there before."""
    first: int | None = None
    for index in range(len(log.branches)):
        branch = log.branches[index]
        before = first if branch.parent is None else branch.parent
        if branch.parent is None and first is None:
            first = index
        if before is not None:
            yield Parting(log, Spot(before, branch.begins), Spot(index, branch.begins))


def forked_by(logs: Iterable[Log]) -> dict[str, int]:
    """How many forks there are of each author that has forked."""
    found: Counter[str] = Counter()
    for log in logs:
        if len(log.branches) > 1:
            found[log.author] += len(log.branches) - 1
    return dict(found)


class Forks:
    """What this node holds of them."""

    def __init__(self, keeper: Keeper, member_of: Callable[[str], str | None], offload: Offload, hub: EventHub) -> None:
        self._keeper = keeper
        self._member_of = member_of
        self._offload = offload
        self._hub = hub
        keeper.listeners.append(self._kept)

    def _kept(self, taken: Taken) -> None:
        for record in taken.forks:
            header = record.body
            self._hub.emit(EquivocationFound(record.author, header.type, header.seq, str(record.id)))

    def by_author(self) -> dict[str, int]:
        """How many there are of each author that has forked, by peer id."""
        return forked_by(self._keeper.logs)

    async def listed(self, limit: int) -> list[Fork]:
        """The forks, by type and author."""
        forked = [log for log in self._keeper.logs if len(log.branches) > 1]
        forked.sort(key=lambda log: (log.type, log.author, log.incarnation))
        found = [each for log in forked for each in partings(log)]
        pairs = await self._keeper.store.read(partial(_pairs, found=found[: max(0, min(limit, MAX_LISTED))]))
        return [self._fork(pair) for pair in pairs]

    async def get(self, fork_id: str) -> Fork:
        """One of them. Raises `UnknownFork`."""
        return self._fork(await self._pair(fork_id))

    async def export(self, fork_id: str, path: Path) -> Fork:
        """Writes the proof of one to a file that was not there. Raises `UnknownFork`, `FileUnusable`."""
        pair = await self._pair(fork_id)
        proof = write_proof(ForkProof(pair[0].record, pair[1].record))
        await self._offload.run(partial(_write_new, path, proof))
        return self._fork(pair)

    async def _pair(self, fork_id: str) -> _Pair:
        parting = await self._find(fork_id)
        if parting is None:
            raise UnknownFork(fork_id)
        [pair] = await self._keeper.store.read(partial(_pairs, found=[parting]))
        return pair

    async def _find(self, fork_id: str) -> Parting | None:
        try:
            link = _native.Link(fork_id)
        except ValueError:
            return None
        for known in (await self._keeper.look_up([link])).known:
            log = self._keeper.logs.get(known.log)
            return next((each for each in partings(log) if each.other == known.spot), None) if log is not None else None
        return None

    def _fork(self, pair: _Pair) -> Fork:
        one, other = pair
        header = other.record.body
        member = self._member_of(header.author)
        records = (_told(one), _told(other))
        return Fork(str(other.record.id), header.type, header.author, member, header.seq, records)


class _Held(NamedTuple):
    record: SignedRecord
    body: bytes | None


_Pair = tuple[_Held, _Held]


def _pairs(tx: Transaction, found: Iterable[Parting]) -> list[_Pair]:
    """The two records at each of these places."""
    return [(_at(tx, each.log, each.one), _at(tx, each.log, each.other)) for each in found]


def _at(tx: Transaction, log: Log, spot: Spot) -> _Held:
    fields = {"log": log.number, "seq": spot.seq, "branch": spot.branch}
    query = "SELECT envelope, body FROM covm_records WHERE log_id = :log AND seq = :seq AND branch = :branch"
    [(envelope, body)] = tx.execute(query, fields).all()
    [record] = open_records([bytes(envelope)])
    assert not isinstance(record, Malformed)  # noqa: S101 - it was verified before it was written
    return _Held(record, None if body is None else bytes(body))


def _told(held: _Held) -> ForkedRecord:
    header = held.record.body
    value = None if held.body is None else decode_record_body(held.body, header).value
    return ForkedRecord(str(held.record.id), header.key, header.op, header.hlc.time_ms, value)


def _write_new(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        raise FileUnusable(str(path), "it is there already, and is not written over; choose another name") from None
    except OSError as error:
        raise FileUnusable(str(path), error.strerror or str(error)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        os.unlink(path)
        raise FileUnusable(str(path), error.strerror or str(error)) from error
