"""The handbook's tables name what there is: every setting, command, option, exit code, error, event and reason."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from importlib import import_module
from typing import Any, get_args

import msgspec
import pytest
from tests.docs.pages import ROOT, quoted, section, table_rows

from covm.cli.app import GROUPS
from covm.cli.exits import Exit
from covm.federation import FederationConfig, Message, errors, events
from covm.federation.config import PRESETS, format_duration
from covm.federation.config.model import flattened
from covm.federation.dispatch import receipts
from covm.federation.peers.record import PeerState
from covm.federation.wire import frames, limits
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.message import MessageBody
from covm.federation.wire.system import Heartbeat, PeerInfo


def as_written(value: Any) -> str:
    """A default as the table of settings writes it."""
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        value = format_duration(value)
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(f"`{item}`" for item in value) or "empty"
    return f"`{value}`" if value != "" else "empty"


def test_every_setting_is_listed_with_its_default_and_its_variable() -> None:
    listed = {row[0].strip("`"): (row[1], row[3]) for row in table_rows(section("docs/configuration.md", "Settings"))}
    there = {
        name: (as_written(value), f"`COVM_{name.replace('.', '_').upper()}`")
        for name, value in flattened(FederationConfig()).items()
    }
    assert listed == there


def test_every_preset_is_listed() -> None:
    assert [row[0].strip("`") for row in table_rows(section("docs/configuration.md", "Presets"))] == list(PRESETS)


def commands() -> dict[str, str]:
    return {
        " ".join(("covm", *words, name)): place
        for words, (group, _) in GROUPS.items()
        for name, (place, _) in group.items()
    }


@pytest.mark.parametrize(("command", "place"), list(commands().items()))
def test_every_command_has_a_section_that_names_its_options(command: str, place: str) -> None:
    told = section("docs/command-line.md", command)
    module, _, function = place.partition(":")
    parameters = inspect.signature(getattr(import_module(f"covm.cli.{module}"), function)).parameters.values()
    options = [
        f"--{each.name.strip('_').replace('_', '-')}"
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and each.name != "common"
    ]
    assert not [option for option in options if not re.search(rf"{option}\b", told)]


def test_no_section_is_about_a_command_that_is_not_there() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    assert set(re.findall(r"^### (covm .*)$", page, re.MULTILINE)) == set(commands())


def test_every_exit_code_is_listed() -> None:
    assert [int(row[0]) for row in table_rows(section("docs/command-line.md", "Exit codes"))] == list(Exit)


def test_every_error_is_listed_with_its_fields() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    listed = {row[0].strip("*`"): quoted(row[2]) for row in table_rows(page)}
    there = {
        name: set(getattr(thing, "__dataclass_fields__", ()))
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, errors.FederationError)
    }
    assert set(listed) == set(there)
    assert not {name: fields for name, fields in there.items() if not fields <= listed[name] | {"problems"}}


def test_every_event_is_listed() -> None:
    listed = set().union(*(quoted(row[0]) for row in table_rows(section("docs/peers.md", "Events"))))
    assert listed == {event.__name__ for event in get_args(events.Event)}


def test_every_state_of_a_peer_is_listed() -> None:
    assert [row[0].strip("`") for row in table_rows(section("docs/peers.md", "States"))] == list(PeerState)


def test_every_state_of_a_receipt_is_listed() -> None:
    there = {value for name, value in vars(receipts).items() if name.isupper() and isinstance(value, str)}
    assert {row[0].strip("`") for row in table_rows(section("docs/messages.md", "The receipt"))} == there


def test_every_field_of_a_message_is_listed() -> None:
    listed = set().union(*(quoted(row[0]) for row in table_rows(section("docs/messages.md", "Handle"))))
    there = {field.name for field in msgspec.structs.fields(Message)} | {"sent_at"}
    assert listed == there - {"incarnation", "seq"}


def test_every_key_of_a_body_is_listed() -> None:
    listed = {row[0].strip("`") for row in table_rows(section("docs/wire-format.md", "Bodies"))}
    assert listed == {field.name for field in msgspec.structs.fields(MessageBody)} - {"extra"}


def test_every_kind_of_frame_is_listed_with_its_keys() -> None:
    listed = {row[0].strip("`"): quoted(row[2]) for row in table_rows(section("docs/wire-format.md", "Direct streams"))}
    structs: dict[str, type[msgspec.Struct]] = {
        "hello": frames.Hello,
        "messages": frames.Messages,
        "ack": frames.Ack,
        "confirm": frames.Confirm,
        "prove": frames.Prove,
        "proof": frames.Proof,
        "heartbeat": Heartbeat,
        "peer_info": PeerInfo,
        "peer_hints": frames.PeerHints,
        "members_ask": frames.MembersAsk,
        "members_have": frames.MembersHave,
        "members_want": frames.MembersWant,
        "members_give": frames.MembersGive,
        "members_known": frames.MembersKnown,
        "join_request": frames.JoinRequest,
        "relay_pass": frames.RelayPass,
    }
    there = {kind: {field.name for field in msgspec.structs.fields(struct)} for kind, struct in structs.items()}
    assert set(listed) == set(there)
    assert not {kind: keys for kind, keys in there.items() if not keys <= listed[kind]}


def test_the_bounds_in_the_wire_format_are_the_bounds() -> None:
    page = (ROOT / "docs" / "wire-format.md").read_text()
    for bound in (limits.MAX_FRAME, limits.MAX_FRAME_MESSAGES, limits.MAX_TYPE_NAME, limits.MAX_JOIN_HELLO + 1):
        assert f"{bound:,}" in page
    assert str(open_federation("covm").cid) in page


def test_every_reason_for_a_drop_is_listed() -> None:
    listed = set().union(*(quoted(row[0]) for row in table_rows(section("docs/messages.md", "What has passed"))))
    sources = [path.read_text() for path in (ROOT / "src" / "covm" / "federation").rglob("*.py")]
    said = {
        reason
        for source in sources
        for reason in re.findall(r"(?:Violation|\.drop|\.violation)\((?:[\w.]+, )?\"([a-z_]+)\"", source)
    }
    assert said
    assert not said - listed
