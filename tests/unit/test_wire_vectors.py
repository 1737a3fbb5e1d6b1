"""The vectors for other languages' clients: what they say is what this code does."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from covm import _native
from covm.federation.identity import Identity
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import Malformed, decode_body, encode_body
from covm.federation.wire.skip import is_skip, skip_mid, skipped_upto

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "messages.json").read_text())


def from_dag_json(value: Any) -> Any:
    if isinstance(value, list):
        return [from_dag_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    match value.get("/"):
        case str(text):
            return _native.Link(text)
        case {"bytes": str(text)}:
            return base64.b64decode(text + "=" * (-len(text) % 4))
    return {key: from_dag_json(item) for key, item in value.items()}


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def test_the_federation_of_the_vectors_is_that_of_its_network() -> None:
    assert str(open_federation(VECTORS["network"]).cid) == VECTORS["federation"]


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=named)
def test_a_body_has_these_bytes_and_this_id(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    fields = from_dag_json(vector["body"])
    assert _native.encode(fields) == data
    assert str(_native.cid(data)) == vector["cid"]
    body = decode_body(data)
    assert encode_body(body) == data
    assert (body.payload, body.seq, body.author) == (fields["payload"], fields["seq"], VECTORS["peer_id"])


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=named)
def test_the_key_of_the_vectors_signs_this_envelope(vector: dict[str, Any]) -> None:
    identity = Identity.from_seed(bytes.fromhex(VECTORS["seed"]))
    assert identity.peer_id == VECTORS["peer_id"]
    assert VECTORS["kind"] == Kind.MESSAGE
    data, envelope = bytes.fromhex(vector["bytes"]), bytes.fromhex(vector["envelope"])
    assert identity.keypair.seal(Kind.MESSAGE, [data]) == [envelope]
    assert _native.open_envelopes(Kind.MESSAGE, [envelope]) == [(identity.peer_id, data)]


def test_the_skip_of_the_vectors_has_the_id_that_follows_from_its_end() -> None:
    (skip,) = [body for each in VECTORS["messages"] if is_skip(body := decode_body(bytes.fromhex(each["bytes"])))]
    assert skip.incarnation is not None
    assert skip.to is not None
    assert skip.mid == skip_mid(skip.incarnation, skip.to, skipped_upto(skip))


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=named)
def test_these_bodies_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode_body(bytes.fromhex(vector["bytes"]))
