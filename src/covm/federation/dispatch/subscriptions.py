"""Who handles what at this node."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from covm.federation.wire.received import Message
from covm.federation.wire.record_key import is_unicode

if TYPE_CHECKING:
    from covm.federation.dispatch.transaction import Tx

Handler = (
    Callable[[Message[Any]], object]
    | Callable[[Message[Any]], Awaitable[object]]
    | Callable[[Message[Any], "Tx"], object]
)

MAX_SUBSCRIPTIONS = 10_000
"""Handlers at once: more is a program that subscribes in a loop and forgets to unsubscribe."""


class Subscription:
    """One handler of one type. Hand it to `unsubscribe` to end it.

    `name` is what the store remembers of handlers that are through with a message: keep it when the code moves.
    Raises `TypeError` for a transactional handler that is asynchronous, `ValueError` for a name that no store could
    hold. `hands_over` is for the federation's own: what
    such a handler does may take hours, so it holds neither its lane nor a slot, and bounds itself how much it takes.
    """

    __slots__ = ("handler", "hands_over", "is_async", "name", "transactional", "type")

    def __init__(
        self,
        type_name: str,
        handler: Handler,
        name: str | None,
        *,
        transactional: bool = False,
        hands_over: bool = False,
    ) -> None:
        self.type = type_name
        self.handler: Any = handler
        self.name = name or getattr(handler, "__qualname__", None) or type(handler).__name__
        self.transactional = transactional
        self.hands_over = hands_over
        call = getattr(handler, "__call__", None)  # noqa: B004 - an object may have an asynchronous __call__
        self.is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
        if "\0" in self.name or not is_unicode(self.name):
            # The store remembers it, and not every store can hold such a text.
            raise ValueError(f"{self.name!r} is no handler's name; take one without NUL and halves of surrogate pairs")
        if transactional and self.is_async:
            raise TypeError(
                f"{self.name} is asynchronous; a transactional handler runs inside the store's transaction, which "
                "waits for nothing: define it with `def`, and subscribe another one for what has to wait"
            )

    def __repr__(self) -> str:
        return f"<Subscription {self.name} of {self.type}>"


class Route:
    """The handlers of one type, in the order in which they subscribed."""

    __slots__ = ("hands_over", "is_immediate", "is_transactional", "subscriptions")

    def __init__(self, subscriptions: tuple[Subscription, ...]) -> None:
        self.subscriptions = subscriptions
        self.is_immediate = not any(each.is_async or each.transactional for each in subscriptions)
        """Whether all of them return at once, on the loop."""
        self.is_transactional = all(each.transactional for each in subscriptions)
        self.hands_over = any(each.hands_over for each in subscriptions)


class Subscriptions:
    """Routes by type name. Names are unique within a type: a second `archive` becomes `archive-2`."""

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
        subscription.name = _free_name(subscription.name, {each.name for each in before})
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


def _free_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
