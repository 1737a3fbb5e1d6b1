"""The queries behind an export: records of a type in the order in which they got their place, a page at a time.

In that order each record comes behind the one before it in its log, so that whoever takes them can give each its place
at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from covm.federation.sync import tables
from covm.federation.sync.export import PAGE_BYTES, PAGE_RECORDS, Carried

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction


class Span(NamedTuple):
    """The records of a type that are here now."""

    type_id: int
    last: int
    """The number of the one that came last."""


class Piece(NamedTuple):
    """Records of one page."""

    records: list[Carried]
    last: int
    left_out: int
    """Those that have a body which is not held."""


def span_of(tx: Transaction, type_name: str) -> Span | None:
    """What there is of a type; None where there is nothing. See `piece_behind` for the plus."""
    type_id = tx.execute("SELECT id FROM covm_record_types WHERE name = :name", {"name": type_name}).scalar()
    if type_id is None:
        return None
    newest = "SELECT number FROM covm_records WHERE +type_id = :type ORDER BY number DESC LIMIT 1"
    last = tx.execute(newest, {"type": type_id}).scalar()
    return None if last is None else Span(type_id, last)


def piece_behind(tx: Transaction, span: Span, after: int) -> Piece | None:
    """The records behind a number that fit in one page; None where there are no more.

    The sizes are looked at first: a page of the largest records has four of them, and a store may have millions. The
    plus keeps the engine from going by the index of types, and from sorting all of a type for each page.
    """
    fields = {"type": span.type_id, "after": after, "last": span.last, "limit": PAGE_RECORDS}
    sizes = tx.execute(
        "SELECT number, length(envelope) + coalesce(length(body), 0) FROM covm_records WHERE +type_id = :type "
        "AND number > :after AND number <= :last ORDER BY number LIMIT :limit",
        fields,
    ).all()
    upto, left_bytes = after, PAGE_BYTES
    for number, size in sizes:
        left_bytes -= size
        if left_bytes < 0 and upto > after:
            break
        upto = number
    if upto == after:
        return None
    rows = tx.execute(
        "SELECT envelope, body, op FROM covm_records WHERE +type_id = :type AND number > :after AND number <= :upto "
        "ORDER BY number",
        {"type": span.type_id, "after": after, "upto": upto},
    ).all()
    records = [Carried(bytes(envelope), None if body is None else bytes(body)) for envelope, body, _ in rows]
    left_out = sum(body is None and op == tables.PUT for _, body, op in rows)
    return Piece(records, upto, left_out)
