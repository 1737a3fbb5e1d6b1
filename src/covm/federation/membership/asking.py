"""One exchange about who is a member, as the side that asks and as the side that answers. Rules: no I/O.

    asker ──ask──> answerer        what do you hold in buckets that differ?
          <──have──                ids, in pages
          ──want──>                those that I lack
          <──give──                ... until nothing is lacking

Both sides ask when both lack something. One question is under way at a time, so neither needs more than a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from covm.federation.membership.aside import Item, item_id
from covm.federation.membership.ledger import Ledger, give_of
from covm.federation.wire.membership import (
    MAX_GIVEN_BYTES,
    MAX_IDS,
    MAX_WANTED,
    MembersAsk,
    MembersGive,
    MembersHave,
    MembersWant,
)

MAX_PAGES: Final = 1024
"""Pages of ids in one exchange: eight times what the largest membership takes."""


class Asker:
    """What this node lacks, asked of one peer. After a `ValueError` the exchange is over."""

    def __init__(self, ledger: Ledger, *, charter: bool = False) -> None:
        self._ledger = ledger
        self._charter = charter
        self._wanted: deque[bytes] = deque()
        self._asked: set[bytes] = set()
        self._after: bytes | None = None
        self._more = True
        self._pages = 0
        self.awaits_ids = False
        """Whether the question under way is one for ids: an answer that nobody asked for is none."""
        self.gained = 0
        """Items of this exchange that were new."""
        self.nowhere = 0
        """Items of this exchange that belong nowhere, or not yet."""
        self.their_digest = b""
        """What the other side said that it holds, when this began."""

    def begin(self) -> MembersAsk:
        """The first question."""
        return self._page()

    def on_have(self, have: MembersHave) -> MembersAsk | MembersWant | None:
        """The next question; None at the end. Raises `ValueError` for an answer that makes no sense."""
        if not self.awaits_ids:
            raise ValueError("ids that nobody asked for")
        self.awaits_ids = False
        if have.ids != sorted(set(have.ids)) or (self._after is not None and have.ids and have.ids[0] <= self._after):
            raise ValueError("ids out of order")
        if have.more and not have.ids:
            raise ValueError("more, and nothing here")
        self._wanted.extend(each for each in have.ids if each not in self._ledger)
        self._more = have.more
        self._after = have.ids[-1] if have.ids else self._after
        return self._following()

    @property
    def awaits_items(self) -> bool:
        """Whether the question under way is one for items."""
        return bool(self._asked)

    def was_asked(self, items: Sequence[Item]) -> bool:
        """Whether an answer is due, and this can be it."""
        return bool(self._asked) and all(item_id(item) in self._asked for item in items)

    def after_give(self, items: Sequence[Item]) -> MembersAsk | MembersWant | None:
        """The next question, once what came was taken; None at the end. Raises `ValueError` for what was not asked."""
        if not self.was_asked(items):
            raise ValueError("items that nobody asked for")
        # What did not fit in the frame is asked for again; of what it does not have any more, it gives nothing.
        self._asked = self._asked - {item_id(item) for item in items} if items else set()
        return self._following()

    def _following(self) -> MembersAsk | MembersWant | None:
        while self._wanted and len(self._asked) < MAX_WANTED:
            self._asked.add(self._wanted.popleft())
        if self._asked:
            return MembersWant(ids=sorted(self._asked))
        if self._more and self._pages < MAX_PAGES:
            return self._page()
        return None

    def _page(self) -> MembersAsk:
        self._pages += 1
        self.awaits_ids = True
        return MembersAsk(buckets=self._ledger.buckets(), after=self._after, charter=self._charter and self._pages == 1)


def answer_ask(ledger: Ledger, ask: MembersAsk) -> MembersHave:
    """What is held in the buckets that differ."""
    ids, more = ledger.beyond(ask.buckets, ask.after, MAX_IDS)
    return MembersHave(ids=ids, more=more, charter=list(ledger.charter.envelopes) if ask.charter else [])


def answer_want(ledger: Ledger, want: MembersWant) -> MembersGive:
    """As much as one frame takes of what was asked for and is here; empty when nothing of it is."""
    items: list[Item] = []
    left = MAX_GIVEN_BYTES
    for each in want.ids:
        item = ledger.get(each)
        if item is None:
            continue
        left -= len(item.envelope)
        if items and left < 0:
            break
        items.append(item)
    return give_of(items)
