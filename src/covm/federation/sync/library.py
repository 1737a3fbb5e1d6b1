"""What this node gives to others: answers to where frontiers differ, and the records of logs that they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from covm import _native
from covm.federation.identity.branches import Spot
from covm.federation.sync import rows
from covm.federation.sync.descent import answer
from covm.federation.wire.sync_frames import MAX_HAVES, MAX_RECORDS, Carried, NoSync, SyncRequest, SyncResponse, Wanted

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction
    from covm.federation.sync.keeper import Keeper
    from covm.federation.sync.logs import Log

MAX_ANSWER_BYTES: Final = 768 * 1024
"""Bytes of one answer, but for a record that is larger by itself."""

PIECE: Final = 256
"""Records that are read at once."""


async def answered(keeper: Keeper, request: SyncRequest) -> SyncResponse | NoSync:
    """The answer to a question of somebody who may read the type. Raises `StoreError`."""
    if request.probes:
        frontier = keeper.logs.frontier(request.type)
        try:
            return SyncResponse(number=request.number, found=answer(frontier, request.probes, MAX_ANSWER_BYTES))
        except ValueError as error:
            return NoSync(request.number, str(error))
    if sum(len(each.have) for each in request.wants) > MAX_HAVES:
        return NoSync(request.number, "it names more records than one question may")
    known = [(each, log) for each in request.wants if (log := keeper.logs.get(each.log)) is not None]
    wanted = [(each, log.copy()) for each, log in known if log.type == request.type]
    return await keeper.store.read(lambda tx: _gathered(tx, request.number, wanted))


def _gathered(tx: Transaction, number: int, wanted: list[tuple[Wanted, Log]]) -> SyncResponse:
    records: list[Carried] = []
    strange: list[_native.Link] = []
    left_bytes, more = MAX_ANSWER_BYTES, False
    for want, log in wanted:
        assert log.number is not None  # noqa: S101 - it is in the store
        ends = _known_ends(tx, want, log, log.number)
        if want.have and not ends and not want.deep:
            strange.append(want.log)
            continue
        for branch in range(len(log.branches)):
            above = max([log.branches[branch].begins - 1, *(log.branches.reached(branch, end) for end in ends)])
            while above < log.branches[branch].tip_seq:
                piece = rows.stretch(tx, log.number, branch, above, log.branches[branch].tip_seq, PIECE)
                for envelope, body in piece:
                    left_bytes -= len(envelope) + len(body or b"")
                    if len(records) >= MAX_RECORDS or (records and left_bytes < 0):
                        return SyncResponse(number=number, records=records, strange=strange, more=True)
                    records.append(Carried(envelope, body))
                above += len(piece)
                if not piece:
                    break
    return SyncResponse(number=number, records=records, strange=strange, more=more)


def _known_ends(tx: Transaction, want: Wanted, log: Log, number: int) -> list[Spot]:
    """Where the records stand that the asker has and that are here."""
    tips = {log.branches[index].tip: Spot(index, log.branches[index].tip_seq) for index in range(len(log.branches))}
    found = [tips[link] for link in want.have if link in tips]
    others = [link for link in want.have if link not in tips]
    stored = rows.spots(tx, number, others) if others else []
    # The disk may be ahead of the log as it was known when the question came.
    return [*found, *(each for each in stored if each.branch < len(log.branches))]
