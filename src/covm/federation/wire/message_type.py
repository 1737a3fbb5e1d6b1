"""How a class says that it is a message type: `@message_type("governance.proposal")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import msgspec

from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD
from covm.federation.wire.names import check_type_name

S = TypeVar("S", bound=msgspec.Struct)

Bodies = Literal["eager", "on_demand"]

_ATTRIBUTE = "__message_type__"


class MessageType(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a registered type beside its fields."""

    name: str
    version: int = 1
    """Counted up by the type's author when the meaning of its fields changes."""
    size_limit_bytes: int = MAX_DIRECT_PAYLOAD
    """Largest encoded payload of this type. Gossip has a limit of its own, 64 KiB."""
    bodies: Bodies = "eager"
    """When the bodies of records above 64 KiB are fetched: as soon as there is one, or when a program looks. A
    choice of this node's, which nobody else is told."""
    durable: bool = False
    """Whether a publication reaches members that were away. Always false: that needs a store."""


def message_type(
    name: str, *, version: int = 1, size_limit_bytes: int = MAX_DIRECT_PAYLOAD, bodies: Bodies = "eager"
) -> Callable[[type[S]], type[S]]:
    """Names a `msgspec.Struct` as the payload of a message type, for `types=[...]` and `TypeRegistry.register`.

    `bodies` is `eager` or `on_demand`: see `MessageType`. Raises `InvalidMessage` for a name that is not a type name,
    `ValueError` for a version below 1, a size limit outside 1 byte to 1 MiB and another word for `bodies`.
    """
    description = describe(name, version=version, size_limit_bytes=size_limit_bytes, bodies=bodies)

    def mark(struct: type[S]) -> type[S]:
        setattr(struct, _ATTRIBUTE, description)
        return struct

    return mark


def describe(
    name: str, *, version: int = 1, size_limit_bytes: int = MAX_DIRECT_PAYLOAD, bodies: Bodies = "eager"
) -> MessageType:
    """A checked `MessageType`; raises as `message_type` does."""
    if version < 1:
        raise ValueError(f"the version of {name} is {version}; versions count from 1")
    if not 1 <= size_limit_bytes <= MAX_DIRECT_PAYLOAD:
        raise ValueError(
            f"the size limit of {name} is {size_limit_bytes:,} bytes; it must be between 1 and {MAX_DIRECT_PAYLOAD:,}"
        )
    if bodies not in get_args(Bodies):
        raise ValueError(f"the bodies of {name} are fetched {bodies!r}; it must be {' or '.join(get_args(Bodies))}")
    return MessageType(name=check_type_name(name), version=version, size_limit_bytes=size_limit_bytes, bodies=bodies)


def marked_type(struct: type) -> MessageType | None:
    """What `message_type` said of this very class; a subclass is another type and has to say its own."""
    found = vars(struct).get(_ATTRIBUTE)
    return found if isinstance(found, MessageType) else None
