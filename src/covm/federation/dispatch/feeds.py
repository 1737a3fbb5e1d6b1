"""`Feeds`: one for each handler of a durable type, as long as there is such a handler."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final

from covm.federation.dispatch import feed_jobs
from covm.federation.dispatch.feed import Feed, Surroundings
from covm.federation.dispatch.subscriptions import Subscription, Subscriptions
from covm.federation.errors import NotStarted
from covm.federation.supervisor import Supervisor

AGAIN_S: Final = 1.0
"""Before a feed whose task was ended by its own handler goes on."""


class Feeds:
    """The shell around them."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        around: Surroundings,
        is_durable: Callable[[str], bool],
        supervisor: Supervisor,
    ) -> None:
        self._subscriptions = subscriptions
        self._around = around
        self._is_durable = is_durable
        self._supervisor = supervisor
        self._feeds: dict[str, dict[Subscription, Feed]] = {}
        """By type."""
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._types: set[str] = set()
        """Those of which a handler was ever fed: it may be away for now."""
        self._is_running = False
        around.publications.follow(self._heard)

    async def start(self) -> None:
        """Begins to feed those that have subscribed. Raises `StoreError`."""
        self._types.update(await self._around.journal.store.read(feed_jobs.fed_types))
        self._is_running = True
        self.look()

    def stop(self) -> None:
        """Nothing more is handed over."""
        self._is_running = False
        for feeds in self._feeds.values():
            for feed in feeds.values():
                feed.end()

    def look(self) -> None:
        """It may have changed which types are durable."""
        for name in sorted(self._feeds.keys() | self._subscriptions.names().keys()):
            self.look_at(name)
        self._hand_out()

    def handlers_gone(self) -> None:
        """Some may not be subscribed any more."""
        for name in sorted(self._feeds):
            self.look_at(name)

    def look_at(self, type_name: str) -> None:
        """The handlers of a type are others now."""
        if not self._is_running:
            return
        route = self._subscriptions.get(type_name)
        wanted = route.subscriptions if route is not None and self._is_durable(type_name) else ()
        before = self._feeds.pop(type_name, {})
        now = {each: before.pop(each) if each in before else self._begin(each) for each in wanted}
        if now:
            self._feeds[type_name] = now
            if type_name not in self._types:
                self._types.add(type_name)
                self._hand_out()
        for feed in before.values():
            feed.end()

    def _hand_out(self) -> None:
        self._around.publications.hand_out([name for name in sorted(self._types) if self._is_durable(name)])

    def _begin(self, subscription: Subscription) -> Feed:
        feed = Feed(subscription, self._around)
        self._go_on(feed)
        return feed

    def _go_on(self, feed: Feed) -> None:
        name = (feed.subscription.type, feed.subscription.name)

        def ended(task: asyncio.Task[None]) -> None:
            if self._tasks.get(name) is task:
                del self._tasks[name]
            if not feed.is_over:
                # Its handler cancelled it, or there is a fault.
                asyncio.get_running_loop().call_later(AGAIN_S, self._go_on, feed)

        # A node that ends begins nothing.
        with contextlib.suppress(NotStarted):
            task = self._supervisor.spawn(_run(feed, self._tasks.get(name)), " for ".join(name))
            self._tasks[name] = task
            task.add_done_callback(ended)

    def _heard(self, more: Collection[str], again: Collection[str]) -> None:
        for name in {*more, *again} & self._feeds.keys():
            for feed in self._feeds[name].values():
                feed.hear(may_count_again=name in again)


async def _run(feed: Feed, before: asyncio.Task[None] | None) -> None:
    """Behind one of the same name, which may have a record in its hands."""
    if before is not None:
        await asyncio.wait([before])
    await feed.run()
