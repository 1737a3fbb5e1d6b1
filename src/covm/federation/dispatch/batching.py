"""What one job stores of a line: what was judged, with what becomes of each message."""

from __future__ import annotations

from covm.federation.dispatch import tables
from covm.federation.dispatch.dispatcher import MessageDispatcher
from covm.federation.dispatch.inbox import NO_HANDLER, Judgement, forget_at_ms
from covm.federation.dispatch.inbox_jobs import Batch, LineRow, NewRow
from covm.federation.wire.limits import MAX_BODY_OVERHEAD


def make_batch(
    dispatcher: MessageDispatcher,
    line: LineRow,
    author_id: int | None,
    sender: str,
    judgement: Judgement,
    max_message_size: int,
    now_ms: int,
) -> Batch:
    """Numbers the messages, and says which wait for handlers, which for somebody to handle them, which are refused."""
    rows: list[NewRow] = []
    journal, shelf, routes = dispatcher.journal, dispatcher.shelf, dispatcher.subscriptions
    max_body, shelved, shelved_bytes = max_message_size + MAX_BODY_OVERHEAD, 0, 0
    for body, data, _ in judgement.new:
        state, refused = tables.PENDING, ""
        if len(data) > max_body:
            refused = f"it is larger than {max_message_size:,} bytes, which is what they take there"
        elif routes.get(body.type) is None:
            state = tables.UNHANDLED
            if shelf.takes(sender, shelved + 1, shelved_bytes + len(data)):
                shelved += 1
                shelved_bytes += len(data)
            else:
                refused = NO_HANDLER
        forget = forget_at_ms(body.expires_at, now_ms)
        rows.append(
            NewRow(journal.next_id(), body.seq, body.mid, body.type, data, body.expires_at, forget, state, refused)
        )
    return Batch(
        sender,
        line.incarnation,
        line.line_id or None,
        author_id,
        line.next_outcome,
        rows,
        judgement.stored_seq,
        judgement.stored_mid,
        judgement.last_envelope or b"",
        now_ms,
    )
