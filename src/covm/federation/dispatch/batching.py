"""What one job stores of a line: what was judged, with what becomes of each message."""

from __future__ import annotations

from typing import Protocol

from covm.federation.clock import Clock
from covm.federation.dispatch import tables
from covm.federation.dispatch.dispatcher import MessageDispatcher
from covm.federation.dispatch.inbox import NO_HANDLER, Judgement, forget_at_ms
from covm.federation.dispatch.inbox_jobs import Batch, LineRow, NewRow
from covm.federation.identity.roles import Action
from covm.federation.ports import Membership
from covm.federation.wire.limits import MAX_BODY_OVERHEAD


def not_allowed(membership: Membership, author: str, type_name: str) -> str | None:
    """Why an author may not say this to one node; None when it may.

    What only some may read is published to each of them in person, so who may publish it may say it.
    """
    verdict = membership.may(author, Action.SEND, type_name)
    if verdict.holds:
        return None
    published = not membership.everyone_may_read(type_name) and membership.may(author, Action.PUBLISH, type_name).holds
    return None if published else verdict.reason


class Ground(Protocol):
    """What a batch is judged by. (Incomings)"""

    dispatcher: MessageDispatcher
    membership: Membership
    max_message_size: int
    clock: Clock


def make_batch(ground: Ground, line: LineRow, author_id: int | None, sender: str, judgement: Judgement) -> Batch:
    """Numbers the messages, and says which wait for handlers, which for somebody to handle them, which are refused."""
    dispatcher, membership, max_message_size = ground.dispatcher, ground.membership, ground.max_message_size
    now_ms = ground.clock.now_ms()
    rows: list[NewRow] = []
    journal, shelf, routes = dispatcher.journal, dispatcher.shelf, dispatcher.subscriptions
    max_body, shelved, shelved_bytes = max_message_size + MAX_BODY_OVERHEAD, 0, 0
    for body, data, _ in judgement.new:
        state, refused, rule = tables.PENDING, "", None
        if (why := not_allowed(membership, body.author, body.type)) is not None:
            # Who knows other credentials may be right: it tries again, unless both know the same.
            refused, rule = f"they do not take it there: {why}", membership.digest
        elif len(data) > max_body:
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
            NewRow(
                journal.next_id(), body.seq, body.mid, body.type, data, body.expires_at, forget, state, refused, rule
            )
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
