"""Records, identity entries, charters and credentials from outside: bytes are what they say they are, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_wire_properties import plain
from tests.unit.membership_vectors import FOLDER
from tests.unit.membership_world import Coop, World

from covm import _native
from covm.federation.identity.charter import decode_charter, encode_charter, open_charter
from covm.federation.identity.consent import decode_consent, open_consents
from covm.federation.identity.credentials import decode_credential, encode_credential, open_credentials
from covm.federation.identity.names import name_problem
from covm.federation.identity.update import decode_update, encode_update, open_updates
from covm.federation.wire.display import shown
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import decode_record, encode_record, open_records
from covm.federation.wire.signed import write_map

FORMATS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "entries": (decode_update, encode_update),
    "charters": (decode_charter, encode_charter),
    "credentials": (decode_credential, encode_credential),
    "records": (decode_record, encode_record),
    "consents": (decode_consent, write_map),
}


def samples() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for key, file in (
        ("entries", "identities.json"),
        ("charters", "charters.json"),
        ("credentials", "credentials.json"),
        ("records", "records.json"),
    ):
        found[key] = [bytes.fromhex(each["bytes"]) for each in json.loads((FOLDER / file).read_text())[key]]
    consent = json.loads((FOLDER / "identities.json").read_text())["consent"]
    return {**found, "consents": [bytes.fromhex(consent["bytes"])]}


SAMPLES = samples()
kinds = pytest.mark.parametrize("kind", FORMATS)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a body."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        found += paths(each, (*path, key))
    return found


def told(kind: str, data: bytes) -> None:
    """Decodes: what is accepted has a signed form of its own, with the same meaning."""
    decode, encode = FORMATS[kind]
    try:
        body = decode(data)
    except Malformed as refused:
        reason = refused.reason
    else:
        reason = ""
        assert decode(encode(body)) == body
    assert reason.isprintable()
    assert len(reason) < 2000


@kinds
@given(st.data())
def test_a_body_with_one_place_changed_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    fields = _native.decode(data.draw(st.sampled_from(SAMPLES[kind])))
    *way, last = data.draw(st.sampled_from(paths(fields)))
    place = fields
    for key in way:
        place = place[key]
    if data.draw(st.booleans()):
        place[last] = data.draw(plain | st.sampled_from([0, -1, 2**63, "", b"", [], {}]))
    else:
        del place[last]
    told(kind, _native.encode(fields))


@kinds
@given(st.binary(max_size=60) | plain.map(_native.encode))
def test_any_bytes_are_read_or_refused(kind: str, data: bytes) -> None:
    told(kind, data)


ASH = Coop("Ash")
WORLD = World([ASH])
ENVELOPES: dict[str, tuple[Callable[[list[bytes]], Any], bytes]] = {
    "entries": (open_updates, ASH.inception.envelope),
    "charters": (lambda envelopes: [open_charter(envelopes)], WORLD.signed.envelopes[0]),
    "credentials": (open_credentials, WORLD.admission(ASH).envelope),
    "records": (open_records, WORLD.desks[0].approve(ASH.member).envelope),
    "consents": (open_consents, ASH.node_entry(0).consent),
}


@kinds
@given(st.data())
def test_one_byte_flipped_anywhere_in_an_envelope_is_refused(kind: str, data: st.DataObject) -> None:
    opener, envelope = ENVELOPES[kind]
    at, bit = data.draw(st.integers(0, len(envelope) - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(envelope)
    flipped[at] ^= 1 << bit
    try:
        [found] = opener([bytes(flipped)])
    except Malformed as error:
        found = error
    assert isinstance(found, Malformed)


@kinds
def test_one_kind_never_passes_for_another(kind: str) -> None:
    opener, _ = ENVELOPES[kind]
    for other, (_, envelope) in ENVELOPES.items():
        try:
            [found] = opener([envelope])
        except Malformed as error:
            found = error
        assert isinstance(found, Malformed) == (other != kind)


@given(st.text(max_size=70))
def test_a_name_that_is_allowed_is_shown_as_it_is_unless_this_python_does_not_know_its_letters(name: str) -> None:
    if name_problem(name) is None:
        assert "\x1b" not in name
        assert "/" not in name
        strange = [letter for letter in name if not letter.isprintable() and letter not in "\u200c\u200d"]
        assert strange or shown(name) == name or "\u200c" in name or "\u200d" in name
