"""The outbox's life: what is on disk at the start, and how a new incarnation begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from covm.federation.dispatch import outbox_queries
from covm.federation.dispatch.hearing import tell
from covm.federation.dispatch.journal import FIRST_PAUSE_S, LAST_PAUSE_S, Journal
from covm.federation.dispatch.line import Post
from covm.federation.dispatch.line_book import LineBook
from covm.federation.dispatch.outbox import Outgoing
from covm.federation.dispatch.outbox_jobs import Settled, load_lines, oldest_waiting
from covm.federation.dispatch.standing import Settlement
from covm.federation.dispatch.upkeep import Upkeep
from covm.federation.errors import StoreError
from covm.federation.events import RolledBack
from covm.federation.store.interface import Transaction
from covm.federation.wire.incarnation import Incarnation, next_incarnation

logger = logging.getLogger("covm.federation.dispatch")


class OutboxLife:
    """Begins lives, and hears what the journal learns of outcomes. `began` is told of a new incarnation; it may raise
    `StoreError`, and is told again then."""

    def __init__(self, post: Post, began: Callable[[Incarnation], Awaitable[None]]) -> None:
        self.book = LineBook(post.terms)
        self.journal = Journal(post, self.book, self._settled)
        self.upkeep = Upkeep(post, self.book, self.journal)
        self._post = post
        self._began = began
        post.membership.on_change(self._ask_again)

    async def load(self, incarnation: Incarnation) -> None:
        """Takes over what is on disk. Raises `StoreError`."""
        store = self._post.store
        self.book.load(incarnation, await store.read(load_lines))
        for line in self.book:
            outgoing = line.outgoing
            if outgoing.id is not None and outgoing.waiting:
                outgoing.oldest_ms = await store.read(
                    partial(oldest_waiting, line_id=outgoing.id, acked_seq=outgoing.acked_seq)
                )
        now_s = self._post.clock.monotonic_s()
        for peer, count, size_bytes, _ in await store.read(outbox_queries.staged_of):
            self.book.staging.add(peer, size_bytes, now_s, count)
        self.journal.admissions.has_staged = True
        self.upkeep.start()

    async def begin_anew(self, peer: str, proven: Incarnation, seq: int) -> None:
        """A peer has proved that the life `proven` of this node went on without its memory: another one begins.

        Everything that is pending moves to it; then every stream says HELLO anew. Waits for a store that fails.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self.journal.run(partial(self._begin_anew, peer, proven, seq))
            except StoreError as error:
                logger.warning("this node was rolled back and cannot begin anew yet: %s", error)
            else:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    async def _begin_anew(self, peer: str, proven: Incarnation, seq: int) -> None:
        post = self._post
        own = post.own_incarnation
        if proven < own:
            return  # another peer proved as much a moment ago
        fresh = next_incarnation(post.clock.now_ms(), max(own.number, proven.number), post.random)

        def job(tx: Transaction) -> None:
            post.save_incarnation(tx, fresh)

        await post.store.write(job)
        logger.warning("%s proved that this node's store went back in time; incarnation %s begins", peer, fresh)
        post.incarnation = fresh
        self.book.begin(fresh)
        self.journal.begin()
        post.hub.emit(RolledBack(peer, str(fresh), seq))
        for line in self.book:
            if line.sender is not None:
                line.sender.restart()
        self.journal.wake()
        post.supervisor.launch(self._tell(fresh), "telling of a new incarnation")

    async def _tell(self, incarnation: Incarnation) -> None:
        """Others count under the incarnation too; they need the store for it."""
        pause_s = FIRST_PAUSE_S
        while self._post.own_incarnation == incarnation:
            try:
                await self._began(incarnation)
            except StoreError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            else:
                return

    def _ask_again(self) -> None:
        """Whether recipients may read what waits for them is asked where it is read from disk."""
        for line in self.book:
            line.outgoing.window.clear()

    def _settled(self, outgoing: Outgoing, settlement: Settlement, settled: Settled, count: int) -> None:
        """An outcome was compared with the disk, and is written there."""
        if settled is Settled.FORGED:
            self._post.violation(outgoing.peer, "outcome_forged")
        elif settled is Settled.DONE:
            tell(outgoing, settlement)
            if not settlement.is_final and count:
                self.upkeep.was_given_back(outgoing, count)
