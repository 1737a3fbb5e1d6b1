"""The types that a node knows, and the way of a payload to the wire and back.

On the wire a payload is maps, lists, text, bytes, integers, booleans, null and links. A registered type gives it a
`msgspec.Struct`, so that its fields are checked before it is sent and when it comes. A type that is not registered
carries such plain values as they are.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from covm import _native
from covm.federation.errors import InvalidMessage, UnknownMessageType
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD, MAX_TYPES
from covm.federation.wire.message_type import Bodies, MessageType, check_key, describe, marked_type
from covm.federation.wire.names import check_type_name, is_system_type
from covm.federation.wire.reasons import why_not
from covm.federation.wire.system import Heartbeat, PeerInfo

# What passes unchanged: on the way out links too; on the way in msgspec knows them by their class.
_OUT = (bytes, _native.Link)
_IN = (bytes,)


class _Entry(msgspec.Struct):
    description: MessageType
    struct: type[msgspec.Struct]
    rule: bytes | None = None
    """Its digest, once somebody asked."""


class TypeRegistry:
    """Message types by name. A new one knows the federation's own types."""

    def __init__(self, types: Iterable[type[msgspec.Struct]] = ()) -> None:
        self._entries: dict[str, _Entry] = {}
        self._names: dict[type, str] = {}
        self._digest: bytes | None = None
        self.register(Heartbeat)
        self.register(PeerInfo)
        for struct in types:
            self.register(struct)

    def register(
        self,
        struct: type[msgspec.Struct],
        name: str | None = None,
        *,
        version: int = 1,
        size_limit_bytes: int = MAX_DIRECT_PAYLOAD,
        durable: bool = False,
        key: str = "",
        bodies: Bodies = "eager",
    ) -> str:
        """Makes a Struct the payload of a type and returns the type's name. The same once more changes nothing.

        The name is the argument, with what else is given, or what `@message_type` said. Raises `InvalidMessage` for a
        class without a name, a name that is taken, and a field that has no single signed form (the path names it);
        `TypeError` for what is not a Struct, `ValueError` as `message_type` does.
        """
        if not _is_struct(struct):
            raise TypeError(f"a message type is a msgspec.Struct class, not {struct!r}")
        if name is not None:
            description = describe(
                name, version=version, size_limit_bytes=size_limit_bytes, durable=durable, key=key, bodies=bodies
            )
            if key:
                check_key(name, key, struct)
        else:
            description = _description_of(struct)
        if self._is_there(description, struct):
            return description.name
        self._refuse_unfit(description.name, struct)
        self._entries[description.name] = _Entry(description, struct)
        self._names[struct] = description.name
        self._digest = None
        return description.name

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._entries)

    def on_demand(self) -> list[str]:
        """The types of whose records large bodies are fetched when somebody looks, by name."""
        return [name for name in self.names() if self._entries[name].description.bodies == "on_demand"]

    def types(self) -> list[MessageType]:
        """The registered types, by name."""
        return [self._entries[name].description for name in self.names()]

    def get(self, name: str) -> MessageType | None:
        """What is known of a type; None when it is not registered."""
        entry = self._entries.get(name)
        return entry.description if entry else None

    def struct(self, name: str) -> type[msgspec.Struct] | None:
        """The class of a type's payload; None when it is not registered."""
        entry = self._entries.get(name)
        return entry.struct if entry else None

    def size_limit(self, name: str) -> int:
        """Largest encoded payload of a type, in bytes; gossip has a limit of its own besides."""
        entry = self._entries.get(name)
        return entry.description.size_limit_bytes if entry else MAX_DIRECT_PAYLOAD

    def is_durable(self, name: str) -> bool:
        """Whether a type was registered as durable; what the charter says of it goes before that."""
        entry = self._entries.get(name)
        return entry is not None and entry.description.durable

    def key_of(self, name: str, payload: Any) -> str | None:
        """The key under which a payload is kept, as it goes on the wire; None for a type without a field for it."""
        entry = self._entries.get(name)
        if entry is None or not entry.description.key:
            return None
        key: str = payload[entry.description.key]
        return key

    def name_of(self, type_or_class: str | type[msgspec.Struct]) -> str:
        """The name as it travels, of a name in any case or of a registered class.

        Raises `InvalidMessage` for text that is not a type name, `UnknownMessageType` for a class that is not
        registered.
        """
        if isinstance(type_or_class, str):
            return check_type_name(type_or_class)
        if (name := self._names.get(type_or_class)) is None:
            raise _unknown(type_or_class)
        return name

    def to_payload(self, type_or_class: str | type[msgspec.Struct] | None, value: Any) -> tuple[str, Any]:
        """The type's name and the value as it goes on the wire.

        The type may be left out (None) for an instance of a registered Struct. A registered type takes its Struct, or
        a mapping of its fields; any other takes plain values. Raises `InvalidMessage` with the path of the first
        field that does not fit, `UnknownMessageType` for a Struct that is not registered. Floats inside plain values
        are found when the body is encoded.
        """
        if type_or_class is None:
            if not isinstance(value, msgspec.Struct):
                raise InvalidMessage("untyped", "type", "plain values need a type name, as in private.message")
            type_or_class = type(value)
        name = self.name_of(type_or_class)
        if is_system_type(name):
            raise InvalidMessage(name, "type", "names that begin with system. are the federation's own; choose another")
        entry = self._entries.get(name)
        if entry is None:
            if isinstance(value, msgspec.Struct):
                raise _unknown(type(value))
            return name, value
        return name, _checked(name, entry.struct, value)

    def from_payload(self, name: str, payload: Any) -> Any:
        """The value of a payload that came: the registered Struct, or as it is. Unknown fields are ignored.

        Raises `InvalidMessage` with the path of the first field that does not fit.
        """
        entry = self._entries.get(name)
        if entry is None:
            return payload
        try:
            return msgspec.convert(payload, entry.struct, builtin_types=_IN)
        except msgspec.ValidationError as error:
            path, why = why_not(str(error))
            raise InvalidMessage(name, path, why) from None

    def digest(self) -> bytes:
        """SHA-256 over names and versions of all registered types: nodes with one digest know the same types."""
        if self._digest is None:
            known = [[entry.name, entry.version] for entry in self.types()]
            self._digest = hashlib.sha256(_native.encode(known)).digest()
        return self._digest

    def rule_digest(self, name: str) -> bytes | None:
        """SHA-256 over what decides here whether a payload fits a type; None when it is not registered.

        Two nodes with one digest judge alike, so a refusal by one is final for the other.
        """
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.rule is None:
            description = entry.description
            said = json.dumps(self.json_schema(name), sort_keys=True)
            rule = [name, description.version, description.size_limit_bytes, said]
            entry.rule = hashlib.sha256(_native.encode(rule)).digest()
        return entry.rule

    def json_schema(self, name: str) -> dict[str, Any]:
        """The JSON Schema (2020-12) of a registered type's payload. Raises `UnknownMessageType`."""
        entry = self._entries.get(check_type_name(name))
        if entry is None:
            near = difflib.get_close_matches(name.lower(), self.names(), n=1)
            hint = f"did you mean {near[0]}?" if near else "`covm federation types` lists the registered ones"
            raise UnknownMessageType(name, hint)
        schema = msgspec.json.schema(entry.struct, schema_hook=_link_schema)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

    def _is_there(self, description: MessageType, struct: type[msgspec.Struct]) -> bool:
        entry = self._entries.get(description.name)
        if entry is None:
            return False
        if entry.struct is struct:
            return True
        why = f"{_full_name(entry.struct)} has this name already; give {_full_name(struct)} another"
        raise InvalidMessage(description.name, "type", why)

    def _refuse_unfit(self, name: str, struct: type[msgspec.Struct]) -> None:
        from covm.federation.wire.fields import unsignable_field

        if is_system_type(name) and struct not in (Heartbeat, PeerInfo):
            raise InvalidMessage(name, "type", "names that begin with system. are the federation's own; choose another")
        if struct in self._names:
            why = f"{_full_name(struct)} is registered as {self._names[struct]}; a class is one type"
            raise InvalidMessage(name, "type", why)
        if len(self._entries) >= MAX_TYPES:
            raise InvalidMessage(name, "type", f"{MAX_TYPES:,} types are registered, and there is no room for more")
        if found := unsignable_field(struct):
            path, why = found
            raise InvalidMessage(name, f"{struct.__name__}.{path}" if path else struct.__name__, why)


def _is_struct(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, msgspec.Struct)


def _description_of(struct: type[msgspec.Struct]) -> MessageType:
    description = marked_type(struct)
    if description is None:
        why = 'the class has no type name; mark it with @message_type("part.part"), or register it under a name'
        raise InvalidMessage(struct.__name__, "type", why)
    return description


def _checked(name: str, struct: type[msgspec.Struct], value: Any) -> Any:
    """The value as plain values that fit the type, with defaults filled in."""
    if isinstance(value, msgspec.Struct) and type(value) is not struct:
        raise InvalidMessage(name, "payload", f"is a {type(value).__name__}, and the type takes a {struct.__name__}")
    try:
        plain = msgspec.to_builtins(value, builtin_types=_OUT)
        fitting = msgspec.convert(plain, struct, builtin_types=_IN)
    except msgspec.ValidationError as error:
        path, why = why_not(str(error))
        raise InvalidMessage(name, path, why) from None
    except (TypeError, RecursionError) as error:
        raise InvalidMessage(name, "payload", f"has no signed form: {error}") from None
    if type(value) is struct:
        return plain
    _refuse_unknown_fields(name, struct, plain)
    return msgspec.to_builtins(fitting, builtin_types=_OUT)


def _refuse_unknown_fields(name: str, struct: type[msgspec.Struct], given: Any) -> None:
    """A field that we do not know is ignored when others send it; in what our own user sends it is a slip."""
    if not isinstance(given, dict):
        return
    known = [*struct.__struct_encode_fields__, *filter(None, [struct.__struct_config__.tag_field])]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"its fields are {', '.join(known)}"
            raise InvalidMessage(name, f"payload.{key}", f"there is no such field; {hint}")


def _unknown(struct: Any) -> UnknownMessageType:
    if not isinstance(struct, type):
        raise TypeError(f"a message type is given by its name or its class, not by {struct!r}")
    hint = f'register the class (types=[{struct.__name__}]), marked with @message_type("part.part")'
    return UnknownMessageType(struct.__name__, hint)


def _full_name(struct: type) -> str:
    return f"{struct.__module__}.{struct.__qualname__}"


def _link_schema(_link: type) -> dict[str, Any]:
    """`Link` is the only class outside JSON Schema that `unsignable_field` lets through."""
    return {"title": "Link", "description": "a CID, as text in base32", "type": "string"}
