"""The codec and the keys as Python sees them; the rules themselves are tested in the core."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from covm import _native as native

VECTORS = Path(__file__).parents[1] / "vectors"
LINK = native.cid(b"content")


def vectors(name: str, kind: str) -> list[dict[str, str]]:
    cases: list[dict[str, str]] = json.loads((VECTORS / name).read_text(encoding="utf-8"))[kind]
    return cases


def test_every_kind_of_value_comes_back_as_it_went() -> None:
    value: dict[str, Any] = {
        "list": [1, -5, 2**64 - 1, -(2**63), None, True, False, "Bäckerei", b"\x00\xff", LINK, {}],
        "map": {"a": {"b": []}},
    }
    decoded = native.decode(native.encode(value))
    assert decoded == value
    assert [type(entry) for entry in decoded["list"]] == [type(entry) for entry in value["list"]]


def test_bytes_that_happen_to_be_a_cid_stay_bytes() -> None:
    assert native.decode(native.encode(LINK.bytes)) == LINK.bytes


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (1.5, "", "float"),
        ({"payload": {"options": [{"price": 1.5}]}}, "payload.options[0].price", "float"),
        ({"a key": [{1, 2}]}, '["a key"][0]', "type"),
        ({"map": {1: 2}}, "map", "key_type"),
        ([2**64], "[0]", "integer_range"),
        ([-(2**63) - 1], "[0]", "integer_range"),
        (["\ud800"], "[0]", "utf8"),
        (b"x" * (2 << 20), "", "too_large"),
    ],
)
def test_what_has_no_encoding_is_told_with_its_path(value: Any, path: str, reason: str) -> None:
    with pytest.raises(native.EncodeError) as caught:
        native.encode(value)
    assert (caught.value.path, caught.value.reason) == (path, reason)
    assert str(caught.value).startswith(path)


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(native.EncodeError, match="nested deeper than 32"):
        native.encode(endless)


@pytest.mark.parametrize("case", vectors("dagcbor.json", "invalid"), ids=lambda case: case["description"])
def test_bytes_that_break_a_rule_are_refused_with_its_name(case: dict[str, str]) -> None:
    with pytest.raises(native.DecodeError) as caught:
        native.decode(bytes.fromhex(case["hex"]))
    assert caught.value.reason == case["reason"]
    assert 0 <= caught.value.offset <= len(case["hex"]) // 2


@pytest.mark.parametrize("case", vectors("dagcbor.json", "valid"), ids=lambda case: case["diagnostic"])
def test_a_valid_document_decodes_and_encodes_to_the_same_bytes(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["hex"])
    assert native.encode(native.decode(data)) == data
    assert str(native.cid(data)) == case["cid"]


def test_a_link_has_one_spelling_and_is_a_value() -> None:
    assert native.Link(str(LINK)) == native.Link(LINK.bytes) == LINK
    assert {LINK: "found"}[native.Link(str(LINK))] == "found"
    assert pickle.loads(pickle.dumps(LINK)) == copy.deepcopy(LINK) == LINK
    assert repr(LINK) == f"Link('{LINK}')"
    for other in ("nonsense", f"https://gateway/ipfs/{LINK}", str(LINK).upper(), LINK.bytes + b"\x00", b""):
        with pytest.raises(ValueError, match="CID"):
            native.Link(other)


@pytest.mark.parametrize("case", vectors("envelopes.json", "valid"), ids=lambda case: case["kind"])
def test_a_key_seals_what_the_vectors_say_and_it_opens(case: dict[str, str]) -> None:
    key = native.Keypair.from_seed(bytes.fromhex(case["seed"]))
    assert (key.peer_id, key.did_key) == (case["peer_id"], case["did_key"])
    payload, envelope = bytes.fromhex(case["payload"]), bytes.fromhex(case["envelope"])
    assert key.seal(case["kind"], [payload]) == [envelope]
    assert native.open_envelopes(case["kind"], [envelope]) == [(case["peer_id"], payload)]


@pytest.mark.parametrize("case", vectors("envelopes.json", "invalid"), ids=lambda case: case["description"])
def test_a_broken_envelope_is_answered_with_the_reason(case: dict[str, str]) -> None:
    assert native.open_envelopes(case["kind"], [bytes.fromhex(case["envelope"])]) == [case["reason"]]


def test_a_large_batch_answers_in_order() -> None:
    key = native.Keypair.generate()
    payloads = [str(number).encode() for number in range(300)]
    sealed = key.seal("/covm/message", payloads)
    sealed[7] = b""
    opened = native.open_envelopes("/covm/message", sealed)
    assert opened[7] == "key_type"
    assert opened[8:] == [(key.peer_id, payload) for payload in payloads[8:]]


def test_an_envelope_that_nobody_would_open_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="send less at once"):
        native.Keypair.generate().seal("/covm/message", [b"x" * (2 << 20)])


def test_a_key_shows_its_peer_id_and_never_its_secret() -> None:
    key = native.Keypair.from_seed(b"\xab" * 32)
    assert repr(key) == f"<Keypair {key.peer_id}>"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            leave(key)


def test_a_key_file_is_made_once_and_refused_when_others_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    with pytest.raises(native.KeyFileError) as missing:
        native.Keypair.load(path)
    made = native.Keypair.create(path)
    assert native.Keypair.load(str(path)).peer_id == made.peer_id
    with pytest.raises(native.KeyFileError) as exists:
        native.Keypair.create(path)
    path.chmod(0o644)
    with pytest.raises(native.KeyFileError, match=f"permissions are 0644.*run chmod 600 {path}") as open_to_others:
        native.Keypair.load(path)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(native.KeyFileError) as damaged:
        native.Keypair.load(path)
    codes = [error.value.code for error in (missing, exists, open_to_others, damaged)]
    assert codes == ["missing", "exists", "permissions", "damaged"]
