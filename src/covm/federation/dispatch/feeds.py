"""`Feeds`: one for each handler of a durable type, as long as there is such a handler."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final

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
        self._feeds: dict[Subscription, Feed] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._names: set[tuple[str, str]] = set()
        """Those that were fed in this life of the node."""
        self._is_running = False
        around.publications.follow(self._heard)

    def start(self) -> None:
        """Begins to feed those that have subscribed."""
        self._is_running = True
        self.look()

    def stop(self) -> None:
        """Nothing more is handed over."""
        self._is_running = False
        for feed in self._feeds.values():
            feed.end()

    def look(self) -> None:
        """Handlers may have gone, or it changed which types are durable."""
        names = {each.type for each in self._feeds} | self._subscriptions.names().keys()
        for name in sorted(names):
            self.look_at(name)

    def look_at(self, type_name: str) -> None:
        """The handlers of a type are others now."""
        if not self._is_running:
            return
        route = self._subscriptions.get(type_name)
        wanted = route.subscriptions if route is not None and self._is_durable(type_name) else ()
        for subscription in [each for each in self._feeds if each.type == type_name and each not in wanted]:
            self._feeds.pop(subscription).end()
        for subscription in wanted:
            if subscription not in self._feeds:
                self._begin(subscription)

    def _begin(self, subscription: Subscription) -> None:
        name = (subscription.type, subscription.name)
        feed = self._feeds[subscription] = Feed(subscription, self._around, is_first=name not in self._names)
        self._names.add(name)
        self._go_on(feed)

    def _go_on(self, feed: Feed) -> None:
        name = (feed.subscription.type, feed.subscription.name)

        def ended(_task: asyncio.Task[None]) -> None:
            if not feed.is_over:
                # Its handler cancelled it, or there is a fault.
                asyncio.get_running_loop().call_later(AGAIN_S, self._go_on, feed)

        # A node that ends begins nothing.
        with contextlib.suppress(NotStarted):
            task = self._supervisor.spawn(_run(feed, self._tasks.get(name)), " for ".join(name))
            self._tasks[name] = task
            task.add_done_callback(ended)

    def _heard(self, more: Collection[str], again: Collection[str]) -> None:
        for subscription, feed in self._feeds.items():
            if subscription.type in more or subscription.type in again:
                feed.hear(may_count_again=subscription.type in again)


async def _run(feed: Feed, before: asyncio.Task[None] | None) -> None:
    """Behind one of the same name, which may have a record in its hands."""
    if before is not None:
        await asyncio.wait([before])
    await feed.run()
