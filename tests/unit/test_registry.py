"""Typed payloads: checked before they go and when they come, with the path of what does not fit."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from covm import _native
from covm.federation.errors import InvalidMessage, UnknownMessageType
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.message_type import message_type
from covm.federation.wire.registry import TypeRegistry

LINK = open_federation("covm").cid


class Unit(Enum):
    KILOGRAM = "kg"
    LITRE = "l"


class Line(Struct, frozen=True):
    article: str
    amount: Annotated[int, Meta(ge=1)]
    unit: Unit = Unit.KILOGRAM


@message_type("Shop.Order", version=2, size_limit_bytes=1000)
class Order(Struct, frozen=True, kw_only=True):
    number: str
    lines: list[Line]
    seal: bytes = b""
    earlier: _native.Link | None = None
    notes: dict[str, Any] = {}


ORDER = Order(number="7", lines=[Line("flour", 3), Line("milk", 1, Unit.LITRE)], seal=b"\x00\xff", earlier=LINK)


@pytest.fixture
def registry() -> TypeRegistry:
    return TypeRegistry([Order])


def test_a_registered_type_comes_back_as_its_struct(registry: TypeRegistry) -> None:
    name, payload = registry.to_payload(Order, ORDER)
    assert name == "shop.order"
    travelled = _native.decode(_native.encode(payload))
    assert registry.from_payload(name, travelled) == ORDER


def test_the_type_follows_from_the_struct(registry: TypeRegistry) -> None:
    assert registry.to_payload(None, ORDER)[0] == "shop.order"


def test_fields_may_be_given_as_a_mapping_and_defaults_are_filled_in(registry: TypeRegistry) -> None:
    _, payload = registry.to_payload("Shop.Order", {"number": "7", "lines": [{"article": "flour", "amount": 3}]})
    assert payload["lines"] == [{"article": "flour", "amount": 3, "unit": "kg"}]
    assert payload["earlier"] is None


@pytest.mark.parametrize(
    ("change", "path", "why"),
    [
        ({"number": 7}, "payload.number", "expected text, got an integer"),
        ({"lines": [{"article": "flour", "amount": 0}]}, "payload.lines[0].amount", ">= 1"),
        ({"lines": [{"article": "flour", "amount": 1.5}]}, "payload.lines[0].amount", "minor units"),
        ({"lines": [{"article": "flour"}]}, "payload.lines[0]", "lacks the field amount"),
        ({"lines": None}, "payload.lines", "expected a list, got nothing (null)"),
        ({"seal": "AAAA"}, "payload.seal", "expected bytes, got text"),
        ({"nummer": "7"}, "payload.nummer", "did you mean number?"),
        ({"zebra": "7"}, "payload.zebra", "its fields are number, lines"),
        ({"notes": {5: "five"}}, "payload.notes", "keys"),
    ],
)
def test_what_does_not_fit_its_type_is_told_with_its_path(
    registry: TypeRegistry, change: dict[str, Any], path: str, why: str
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        registry.to_payload("shop.order", {"number": "7", "lines": []} | change)
    assert caught.value.path == path
    assert why in caught.value.why


def test_a_struct_that_was_made_with_wrong_fields_is_not_sent(registry: TypeRegistry) -> None:
    with pytest.raises(InvalidMessage) as caught:
        registry.to_payload(None, Order(number="7", lines=[Line("flour", "three")]))  # type: ignore[arg-type]
    assert caught.value.path == "payload.lines[0].amount"


def test_a_received_payload_that_does_not_fit_is_told_with_its_path(registry: TypeRegistry) -> None:
    with pytest.raises(InvalidMessage) as caught:
        registry.from_payload("shop.order", {"number": "7", "lines": [{"article": 1, "amount": 1}]})
    assert caught.value.path == "payload.lines[0].article"


def test_fields_that_a_newer_node_added_are_ignored(registry: TypeRegistry) -> None:
    order = registry.from_payload("shop.order", {"number": "7", "lines": [], "delivery": "tomorrow"})
    assert order == Order(number="7", lines=[])


@pytest.mark.parametrize("value", ["text", b"bytes", {"a": [1, None]}, 5, None])
def test_an_unregistered_type_carries_plain_values(registry: TypeRegistry, value: object) -> None:
    assert registry.to_payload("Private.Message", value) == ("private.message", value)
    assert registry.from_payload("private.message", value) == value


def test_an_unregistered_struct_is_an_error_that_says_how_to_register_it(registry: TypeRegistry) -> None:
    for given in ("shop.line", None, Line):
        with pytest.raises(UnknownMessageType, match=r"types=\[Line\]"):
            registry.to_payload(given, Line("flour", 1))


def test_a_struct_of_another_type_is_refused(registry: TypeRegistry) -> None:
    with pytest.raises(InvalidMessage, match="is a Line, and the type takes a Order"):
        registry.to_payload("shop.order", Line("flour", 1))


def test_plain_values_need_a_type_name(registry: TypeRegistry) -> None:
    with pytest.raises(InvalidMessage, match="need a type name"):
        registry.to_payload(None, {"number": "7"})


def test_nobody_speaks_in_the_federations_own_name(registry: TypeRegistry) -> None:
    with pytest.raises(InvalidMessage, match="the federation's own"):
        registry.to_payload("system.heartbeat", {"sequence": 1, "sent_at": 1})
    with pytest.raises(InvalidMessage, match="the federation's own"):
        registry.register(Line, "system.line")


class Nested(Struct):
    children: list[Nested]
    prices: dict[str, tuple[int, float | None]]


@pytest.mark.parametrize(
    ("field", "path", "instead"),
    [
        (float, "Made.field", "minor units"),
        (list[float], "Made.field[]", "minor units"),
        (Decimal, "Made.field", "minor units"),
        (datetime, "Made.field", "milliseconds"),
        (date | None, "Made.field", "2030-12-31"),
        (timedelta, "Made.field", "milliseconds"),
        (set[int], "Made.field", "sorted list"),
        (dict[str, frozenset[str]], "Made.field[...]", "sorted list"),
        (dict[int, str], "Made.field", "dict[str, ...]"),
        (bytearray, "Made.field", "use bytes"),
        (complex, "Made.field", "plain data"),
        (Nested, "Made.field.prices[...][1]", "minor units"),
    ],
    ids=str,
)
def test_a_field_without_one_signed_form_is_refused_when_the_type_is_registered(
    registry: TypeRegistry, field: Any, path: str, instead: str
) -> None:
    made = msgspec.defstruct("Made", [("field", field)])
    with pytest.raises(InvalidMessage) as caught:
        registry.register(made, "made.here")
    assert caught.value.path == path
    assert instead in caught.value.why
    assert "made.here" not in registry.names()


def test_fields_with_one_signed_form_are_taken(registry: TypeRegistry) -> None:
    fields = [("a", Annotated[int, Meta(ge=0)]), ("b", uuid.UUID), ("c", dict[Unit, list[bytes]]), ("d", Any)]
    registry.register(msgspec.defstruct("Made", fields), "made.here")
    assert "made.here" in registry.names()


def test_registering_twice_changes_nothing_and_a_taken_name_is_told(registry: TypeRegistry) -> None:
    assert registry.register(Order) == "shop.order"
    with pytest.raises(InvalidMessage, match="has this name already"):
        registry.register(Line, "shop.order")
    with pytest.raises(InvalidMessage, match=r"is registered as shop\.order"):
        registry.register(Order, "shop.other")


def test_a_class_without_a_name_or_of_another_kind_is_refused(registry: TypeRegistry) -> None:
    class Special(Order, frozen=True):
        """A subclass does not inherit its parent's name."""

    with pytest.raises(InvalidMessage, match="has no type name"):
        registry.register(Special)
    with pytest.raises(TypeError, match=r"msgspec\.Struct class"):
        registry.register(dict)  # type: ignore[arg-type]


def test_what_is_known_of_a_type_can_be_asked(registry: TypeRegistry) -> None:
    assert registry.names() == ["shop.order", "system.heartbeat", "system.peer_info"]
    described = registry.get("shop.order")
    assert described is not None
    assert (described.version, described.durable) == (2, False)
    assert registry.size_limit("shop.order") == 1000
    assert registry.size_limit("private.message") == 1024 * 1024
    assert registry.name_of(Order) == registry.name_of("Shop.Order") == "shop.order"
    assert registry.struct("shop.order") is Order


def test_nodes_that_know_the_same_types_have_the_same_digest() -> None:
    one = TypeRegistry([Order])
    one.register(Line, "shop.line")
    other = TypeRegistry()
    other.register(Line, "shop.line")
    assert one.digest() != other.digest()
    other.register(Order)
    assert one.digest() == other.digest()
    assert len(one.digest()) == 32


def test_a_type_has_a_json_schema(registry: TypeRegistry) -> None:
    schema = registry.json_schema("Shop.Order")
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["$defs"]["Order"]["required"] == ["number", "lines"]
    with pytest.raises(UnknownMessageType, match=r"did you mean shop\.order"):
        registry.json_schema("shop.ordr")


@pytest.mark.parametrize("options", [{"version": 0}, {"size_limit_bytes": 0}, {"size_limit_bytes": 2**30}])
def test_a_type_is_declared_within_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"shop\.order"):
        message_type("shop.order", **options)
