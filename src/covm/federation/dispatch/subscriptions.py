"""Who handles what at this node."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from covm.federation.wire.received import Message

Handler = Callable[[Message[Any]], object] | Callable[[Message[Any]], Awaitable[object]]

MAX_SUBSCRIPTIONS = 10_000
"""Handlers at once: more is a program that subscribes in a loop and forgets to unsubscribe."""


class Subscription:
    """One handler of one type. Hand it to `unsubscribe` to end it."""

    __slots__ = ("handler", "is_async", "name", "type")

    def __init__(self, type_name: str, handler: Handler, name: str | None) -> None:
        self.type = type_name
        self.handler: Any = handler
        self.name = name or getattr(handler, "__qualname__", None) or type(handler).__name__
        call = getattr(handler, "__call__", None)  # noqa: B004 - an object may have an asynchronous __call__
        self.is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)

    def __repr__(self) -> str:
        return f"<Subscription {self.name} of {self.type}>"


class Route:
    """The handlers of one type, in the order in which they subscribed."""

    __slots__ = ("is_async", "subscriptions")

    def __init__(self, subscriptions: tuple[Subscription, ...]) -> None:
        self.subscriptions = subscriptions
        self.is_async = any(subscription.is_async for subscription in subscriptions)


class Subscriptions:
    """Routes by type name."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._count = 0

    def get(self, type_name: str) -> Route | None:
        return self._routes.get(type_name)

    def names(self) -> dict[str, list[str]]:
        """The handlers' names by type."""
        return {name: [each.name for each in route.subscriptions] for name, route in sorted(self._routes.items())}

    def add(self, subscription: Subscription) -> Subscription:
        """Adds a handler behind those that are there. Raises `ValueError` beyond `MAX_SUBSCRIPTIONS`."""
        if self._count >= MAX_SUBSCRIPTIONS:
            raise ValueError(f"{MAX_SUBSCRIPTIONS:,} handlers are subscribed; unsubscribe those that are done")
        route = self._routes.get(subscription.type)
        before = route.subscriptions if route is not None else ()
        self._routes[subscription.type] = Route((*before, subscription))
        self._count += 1
        return subscription

    def remove(self, what: Subscription | Handler) -> int:
        """Ends a subscription, or every one of a handler; returns how many ended."""
        ended = 0
        for type_name, route in list(self._routes.items()):
            left = tuple(each for each in route.subscriptions if each is not what and each.handler != what)
            ended += len(route.subscriptions) - len(left)
            if left:
                self._routes[type_name] = Route(left)
            else:
                del self._routes[type_name]
        self._count -= ended
        return ended
