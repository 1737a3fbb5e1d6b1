"""How a class says that it is a message type: `@message_type("governance.proposal")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar, get_args, get_origin

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
    """When bodies of records that come after them, those above 64 KiB, are fetched: as soon as there is one, or when a
    program looks, unless handlers of a durable type or a sync type's store are given them. A choice of this node's,
    which nobody else is told."""
    durable: bool = False
    """Whether a publication is a record, which reaches members that were away. The charter's word goes before it."""
    key: str = ""
    """The field whose text is the key of such a record; empty where each publication has a key of its own."""


def message_type(
    name: str,
    *,
    version: int = 1,
    size_limit_bytes: int = MAX_DIRECT_PAYLOAD,
    durable: bool = False,
    key: str = "",
    bodies: Bodies = "eager",
) -> Callable[[type[S]], type[S]]:
    """Names a `msgspec.Struct` as the payload of a message type, for `types=[...]` and `TypeRegistry.register`.

    What is published of a `durable` type is kept, and reaches members that were away. `key` names the field of it that
    says what a publication is about: a later one about the same takes the place of an earlier one in the collection of
    the type. `bodies` is `eager` or `on_demand`: see `MessageType`.

    Raises `InvalidMessage` for a name that is not a type name, `ValueError` for a version below 1, a size limit
    outside 1 byte to 1 MiB, a key that is no field with text, and another word for `bodies`.
    """
    description = describe(
        name, version=version, size_limit_bytes=size_limit_bytes, durable=durable, key=key, bodies=bodies
    )

    def mark(struct: type[S]) -> type[S]:
        if key:
            check_key(name, key, struct)
        setattr(struct, _ATTRIBUTE, description)
        return struct

    return mark


def check_key(name: str, key: str, struct: type[msgspec.Struct]) -> None:
    """Raises `ValueError` where a Struct has no such field with text."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    if struct.__struct_config__.array_like:
        raise ValueError(f"{name} has a key, and travels as a list, without the names of its fields")
    if key not in fields:
        raise ValueError(f"the key of {name} is {key}, and it has no such field; there are {', '.join(fields)}")
    if get_origin(fields[key]) is Annotated:
        fields[key] = get_args(fields[key])[0]
    if fields[key] is not str:
        raise ValueError(f"the key of {name} is {key}, which is not text: a key is a field of type str")


def describe(
    name: str,
    *,
    version: int = 1,
    size_limit_bytes: int = MAX_DIRECT_PAYLOAD,
    durable: bool = False,
    key: str = "",
    bodies: Bodies = "eager",
) -> MessageType:
    """A checked `MessageType`; raises as `message_type` does, but for the key."""
    if version < 1:
        raise ValueError(f"the version of {name} is {version}; versions count from 1")
    if not 1 <= size_limit_bytes <= MAX_DIRECT_PAYLOAD:
        raise ValueError(
            f"the size limit of {name} is {size_limit_bytes:,} bytes; it must be between 1 and {MAX_DIRECT_PAYLOAD:,}"
        )
    if bodies not in get_args(Bodies):
        raise ValueError(f"the bodies of {name} are fetched {bodies!r}; it must be {' or '.join(get_args(Bodies))}")
    return MessageType(
        name=check_type_name(name),
        version=version,
        size_limit_bytes=size_limit_bytes,
        bodies=bodies,
        durable=durable,
        key=key,
    )


def marked_type(struct: type) -> MessageType | None:
    """What `message_type` said of this very class; a subclass is another type and has to say its own."""
    found = vars(struct).get(_ATTRIBUTE)
    return found if isinstance(found, MessageType) else None
