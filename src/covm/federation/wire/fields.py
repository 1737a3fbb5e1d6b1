"""Which fields a message type may have: those with exactly one signed form, the same in every language.

The walk follows the types that msgspec sees. It is done once, when a type is registered, so that a field that could
never be signed is told to the developer and not to the user who fills it in.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import inspect

from covm import _native

_MILLISECONDS = "has no signed form; use an integer of milliseconds"
_REFUSED: dict[type[inspect.Type], str] = {
    inspect.FloatType: "is a float, which has no single signed form; use an integer in minor units (cents)",
    inspect.DecimalType: "is a Decimal, which has no signed form; use an integer in minor units (cents)",
    inspect.DateTimeType: f"is a datetime, which {_MILLISECONDS} since 1970-01-01 UTC",
    inspect.DateType: "is a date, which has no signed form; use text as in 2030-12-31",
    inspect.TimeType: f"is a time, which {_MILLISECONDS}",
    inspect.TimeDeltaType: f"is a timedelta, which {_MILLISECONDS}",
    inspect.SetType: "is a set, which has no order and so no single signed form; use a sorted list",
    inspect.FrozenSetType: "is a frozenset, which has no order and so no single signed form; use a sorted list",
    inspect.ByteArrayType: "is a bytearray; use bytes",
    inspect.MemoryViewType: "is a memoryview; use bytes",
    inspect.RawType: "is a msgspec.Raw, which has no signed form; use the type of what is in it",
    inspect.ExtType: "is a msgspec.msgpack.Ext, which has no signed form; use bytes",
}
_KEY_TYPES = (inspect.StrType, inspect.LiteralType, inspect.EnumType)


def unsignable_field(struct: type[msgspec.Struct]) -> tuple[str, str] | None:
    """The path and the reason of the first field that cannot be signed; None when all can."""
    try:
        described = inspect.type_info(struct)
    except (TypeError, NameError) as error:
        return "", f"its fields cannot be read: {error}"
    return next(_problems(described, "", set()), None)


def _problems(kind: inspect.Type, path: str, seen: set[type]) -> Iterator[tuple[str, str]]:
    if reason := _REFUSED.get(type(kind)):
        yield path, reason
    elif isinstance(kind, inspect.Metadata):
        yield from _problems(kind.type, path, seen)
    elif isinstance(kind, inspect.CustomType):
        if kind.cls is not _native.Link:
            yield path, f"is a {kind.cls.__name__}, which is neither plain data nor a msgspec.Struct"
    elif isinstance(kind, inspect.UnionType):
        for option in kind.types:
            yield from _problems(option, path, seen)
    elif isinstance(kind, inspect.DictType):
        yield from _dict_problems(kind, path, seen)
    elif isinstance(kind, inspect.TupleType):
        for index, item in enumerate(kind.item_types):
            yield from _problems(item, f"{path}[{index}]", seen)
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.CollectionType):
        yield from _problems(kind.item_type, f"{path}[]", seen)
    else:
        yield from _field_problems(kind, path, seen)


def _dict_problems(kind: inspect.DictType, path: str, seen: set[type]) -> Iterator[tuple[str, str]]:
    key = kind.key_type
    while isinstance(key, inspect.Metadata):
        key = key.type
    if not isinstance(key, _KEY_TYPES):
        yield path, "is a dict whose keys are not text; use dict[str, ...]"
    yield from _problems(kind.value_type, f"{path}[...]", seen)


def _field_problems(kind: inspect.Type, path: str, seen: set[type]) -> Iterator[tuple[str, str]]:
    """Into Structs, dataclasses, typed dicts and named tuples; a type that contains itself is walked once."""
    fields = getattr(kind, "fields", None)
    owner = getattr(kind, "cls", None)
    if fields is None or owner is None or owner in seen:
        return
    seen.add(owner)
    for field in fields:
        yield from _problems(field.type, f"{path}.{field.name}" if path else field.name, seen)
