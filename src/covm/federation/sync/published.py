"""`Published`: what counts of a type's records, in the order in which it came to count, as messages to handlers.

A record has its place in that order from when it counted first, also should it be void for a while. What has no body
here, not yet or not any more, is passed over like what does not count, and handed over once it comes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from covm import _native
from covm.federation.ports import LOCAL, SYNC, Publication, PublicationPage, Said
from covm.federation.sync import reading, tables
from covm.federation.sync.rows import in_lists
from covm.federation.wire.limits import MID_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.message import MessageBody
from covm.federation.wire.record import SignedRecord, decode_record_body, open_records

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction
    from covm.federation.sync.keeper import Keeper
    from covm.federation.sync.taken import Taken
    from covm.federation.wire.received import Via

logger = logging.getLogger("covm.federation.sync")

_OF_TYPE: Final = "FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id WHERE t.name = :type AND "


class Published:
    """The `Publications` of a node."""

    def __init__(self, keeper: Keeper, own: str, hand_out: Callable[[Collection[str]], None]) -> None:
        """`hand_out` hears of which types handlers are given everything."""
        self._keeper = keeper
        self._own = own
        self.hand_out = hand_out

    def behind(self, tx: Transaction, type_name: str, position: int, limit: int, limit_bytes: int) -> PublicationPage:
        """The next ones behind a position, in order: at least one if there is any."""
        rows = tx.execute(
            f"SELECT r.told, r.state, length(r.body) {_OF_TYPE} r.told > :after ORDER BY r.told LIMIT :limit",
            {"type": type_name, "after": position, "limit": limit},
        ).all()
        counting = [(told, size) for told, state, size in rows if state == tables.VALID and size is not None]
        taken = reading.first_within(counting, limit_bytes)
        is_cut = len(taken) < len(counting)
        upto = taken[-1] if is_cut else rows[-1][0] if rows else position
        publications = self._read(tx, type_name, taken)
        given = {each.position for each in publications}
        void = [told for told, _, _ in rows if told <= upto and told not in given]
        return PublicationPage(publications, void, upto, is_all=not is_cut and len(rows) < limit)

    def counting(
        self, tx: Transaction, type_name: str, positions: Sequence[int], limit_bytes: int
    ) -> list[Publication]:
        """The first of those at these positions that count now: at least one if there is any."""
        counting: list[tuple[int, int]] = []
        for names, values in in_lists("p", positions):
            query = f"SELECT r.told, length(r.body) {_OF_TYPE} r.told IN ({names}) AND r.state = 1"
            counting += [(told, size) for told, size in tx.execute(query, {"type": type_name, **values}) if size]
        return self._read(tx, type_name, reading.first_within(sorted(counting), limit_bytes))

    def said(self, tx: Transaction, type_name: str, record: str) -> Said:
        """What a record says, whether it counts now or not."""
        found = reading.with_id(tx, type_name, _native.Link(record).bytes)
        if found is None:
            return Said("", None, "its record is not here any more")
        gone = reading.why_lacking(found, found.erase.author if found.erase else "") if found.lacks_body else ""
        return Said(found.record.body.key, found.value, gone)

    def gone(self, tx: Transaction, records: Sequence[str]) -> dict[str, str]:
        """Those of these records of which nothing is here any more that they said, and why."""
        bare: list[Sequence[Any]] = []
        for names, values in in_lists("i", [_native.Link(each).bytes for each in records]):
            query = (
                "SELECT t.name, r.id FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "  # noqa: S608
                f"WHERE r.id IN ({names}) AND r.body IS NULL"
            )
            bare += tx.execute(query, values).all()
        named = [(name, str(_native.Link(bytes(link)))) for name, link in bare]
        return {record: self.said(tx, name, record).gone for name, record in named}

    def _read(self, tx: Transaction, type_name: str, positions: Sequence[int]) -> list[Publication]:
        rows: list[Sequence[Any]] = []
        for names, values in in_lists("p", positions):
            query = f"SELECT r.told, r.envelope, r.body {_OF_TYPE} r.told IN ({names})"
            rows += tx.execute(query, {"type": type_name, **values}).all()
        rows.sort(key=lambda row: int(row[0]))
        records = open_records([bytes(row[1]) for row in rows])
        found = (self._publication(record, row) for record, row in zip(records, rows, strict=True))
        return [each for each in found if each is not None]

    def _publication(self, record: SignedRecord | Malformed, row: Sequence[Any]) -> Publication | None:
        """None for one that the disk damaged: it verified before it was written."""
        found = record if isinstance(record, Malformed) else _message(record, bytes(row[2]))
        if isinstance(record, Malformed) or isinstance(found, Malformed):
            logger.error("the record at position %d is not any more what was stored: %s", row[0], found)
            return None
        via: Via = LOCAL if record.author == self._own else SYNC
        return Publication(row[0], str(record.id), found, record.body.size, via)

    def follow(self, listener: Callable[[Collection[str], Collection[str]], None]) -> None:
        """Has somebody called with the types of which there is more, and those of which some may count again."""

        def heard(taken: Taken) -> None:
            if taken.keys or taken.recounted:
                listener({name for name, _ in taken.keys}, taken.recounted)

        self._keeper.listeners.append(heard)


def _message(record: SignedRecord, body: bytes) -> MessageBody | Malformed:
    header = record.body
    try:
        payload = decode_record_body(body, header).value
    except Malformed as why:
        return why
    return MessageBody(
        federation=header.federation,
        type=header.type,
        author=header.author,
        incarnation=header.incarnation,
        seq=header.seq,
        # The last bytes of the id: those of its hash.
        mid=record.id.bytes[-MID_SIZE:],
        to=None,
        sent_at=header.hlc.time_ms,
        expires_at=None,
        payload=payload,
    )
