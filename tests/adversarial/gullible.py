"""Switches that turn defences of inbox and outbox off, to show that the attacks would work without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from covm.federation.dispatch import inbox_jobs, incoming
from covm.federation.dispatch.inbox import Judgement, Offered
from covm.federation.dispatch.resuming import Ask, Resuming
from covm.federation.store.interface import Transaction
from covm.federation.wire.frames import Hello, Prove
from covm.federation.wire.incarnation import Incarnation


def take_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sequence and incarnation a message says is taken."""

    def judge(
        incarnation: Incarnation | None, stored_seq: int, stored_mid: bytes | None, offered: Iterable[Offered]
    ) -> Judgement:
        judged = Judgement(stored_seq, stored_mid)
        for each in offered:
            judged.new.append(each)
            judged.stored_seq, judged.stored_mid = each.body.seq, each.body.mid
            judged.last_envelope = each.envelope
        return judged

    monkeypatch.setattr(incoming, "judge", judge)


def forget_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message id is known from before."""

    def seen(tx: Transaction, author_id: int, mids: Sequence[bytes]) -> dict[bytes, int]:
        tx.execute("DELETE FROM covm_seen")
        return {}

    monkeypatch.setattr(inbox_jobs, "_seen", seen)


def believe_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a receiver shows proves that this node was rolled back."""

    async def prove(resuming: Resuming, hello: Hello, ask: Ask) -> tuple[Incarnation, int] | None:
        own = resuming._outgoing.incarnation
        return None if await ask(Prove(own)) is None else (own, 1)

    monkeypatch.setattr(Resuming, "_prove", prove)
