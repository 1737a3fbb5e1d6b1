"""The vectors of identities, charters, credentials and records: what they say is what this code does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.membership_vectors import FILES, FOLDER, payload_of, text
from tests.unit.membership_world import key_of, opened
from tests.unit.test_wire_vectors import from_dag_json

from covm import _native
from covm.federation.identity.approvals import ApprovalLogs
from covm.federation.identity.charter import charter_verdict, decode_charter, encode_charter, open_charter
from covm.federation.identity.commitments import commitment
from covm.federation.identity.credentials import decode_credential, encode_credential, open_credentials
from covm.federation.identity.identities import Identities
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.standing import judge
from covm.federation.identity.update import decode_update, encode_update, open_updates
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import decode_record, decode_record_body, encode_record, open_records

VECTORS: dict[str, Any] = {name: json.loads((FOLDER / name).read_text()) for name in FILES}
FORMATS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "identities.json": (decode_update, encode_update),
    "charters.json": (decode_charter, encode_charter),
    "credentials.json": (decode_credential, encode_credential),
    "records.json": (decode_record, encode_record),
}


def each_of(key: str, *files: str) -> list[Any]:
    return [
        pytest.param(name, vector, id=f"{name}: {vector['name']}")
        for name in files
        for vector in VECTORS[name].get(key, ())
    ]


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_in_the_repository_are_those_that_the_code_makes(name: str) -> None:
    rewrite = "`python -m tests.unit.membership_vectors` rewrites it: is the wire format meant to change?"
    assert (FOLDER / name).read_text() == text(FILES[name]()), rewrite


@pytest.mark.parametrize(
    ("name", "vector"),
    [
        *each_of("entries", "identities.json"),
        *each_of("charters", "charters.json"),
        *each_of("credentials", "credentials.json"),
        *each_of("records", "records.json"),
    ],
)
def test_a_body_has_these_bytes_this_id_and_this_signer(name: str, vector: dict[str, Any]) -> None:
    decode, encode = FORMATS[name]
    data = bytes.fromhex(vector["bytes"])
    assert _native.encode(from_dag_json(vector["body"])) == data
    assert encode(decode(data)) == data
    assert str(_native.cid(data)) == vector["cid"]
    for envelope in vector.get("envelopes", [vector.get("envelope")]):
        signer, payload = payload_of(VECTORS[name]["kind"], bytes.fromhex(envelope))
        assert (signer, payload) == (vector.get("signer", signer), data)


@pytest.mark.parametrize(("name", "vector"), each_of("refused", *FORMATS))
def test_these_bodies_are_refused(name: str, vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        FORMATS[name][0](bytes.fromhex(vector["bytes"]))


def test_keys_and_commitments_follow_from_their_texts() -> None:
    vectors = VECTORS["identities.json"]
    assert {words: key_of(words).peer_id for words in vectors["keys"]} == vectors["keys"]
    assert {peer: commitment(peer).hex() for peer in vectors["keys"].values()} == vectors["commitments"]


@pytest.mark.parametrize("vector", VECTORS["identities.json"]["logs"], ids=named)
def test_a_log_comes_to_this_in_every_order(vector: dict[str, Any]) -> None:
    updates = [opened(open_updates([bytes.fromhex(each)])) for each in vector["envelopes"]]
    for order in itertools.islice(itertools.permutations(updates), 0, None, 37):
        log = IdentityLog(_native.Link(vector["member"]))
        for update in order:
            log.add(update)
        head = log.head
        assert head is not None
        assert str(head.entry) == vector["head"]
        assert (head.name, head.key) == (vector["state"]["name"], vector["state"]["key"])
        assert sorted(head.nodes) == [node["node"] for node in vector["state"]["nodes"]]
        for entry, counts_as in vector["at"].items():
            state = log.at(_native.Link(entry))
            assert state is not None
            assert str(state.entry) == counts_as


@pytest.mark.parametrize("vector", VECTORS["charters.json"]["charters"], ids=named)
def test_a_charter_counts_with_all_its_signatures(vector: dict[str, Any]) -> None:
    envelopes = [bytes.fromhex(each) for each in vector["envelopes"]]
    identities = Identities([opened(open_updates([bytes.fromhex(each)])) for each in vector["inceptions"]])
    assert str(open_charter(envelopes).id) == vector["cid"] == VECTORS["charters.json"]["federation"]
    assert charter_verdict(open_charter(envelopes), identities).holds
    assert not charter_verdict(open_charter(envelopes[1:]), identities).holds


@pytest.mark.parametrize("vector", VECTORS["records.json"]["records"], ids=named)
def test_a_record_belongs_to_this_log(vector: dict[str, Any]) -> None:
    header = decode_record(bytes.fromhex(vector["bytes"]))
    assert str(header.log) == vector["log"]
    body = VECTORS["records.json"]["body"]
    if vector["cid"] == body["of"]:
        found = decode_record_body(bytes.fromhex(body["bytes"]), header)
        assert {"salt": found.salt, "value": found.value} == from_dag_json(body["value"])


@pytest.mark.parametrize("vector", VECTORS["standing.json"]["stories"], ids=named)
def test_a_set_comes_to_these_members_and_verdicts(vector: dict[str, Any]) -> None:
    signed = open_charter([bytes.fromhex(each) for each in vector["charter"]])
    identities = Identities([opened(open_updates([bytes.fromhex(each)])) for each in vector["identities"]])
    credentials = [opened(open_credentials([bytes.fromhex(each)])) for each in vector["credentials"]]
    records = [opened(open_records([bytes.fromhex(each)])) for each in reversed(vector["approvals"])]
    standing = judge(signed.id, signed.charter, identities, credentials, ApprovalLogs(signed.id, records))
    assert {str(each.member): sorted(each.roles) for each in standing.members()} == vector["members"]
    for credential, status in vector["verdicts"].items():
        assert standing.verdict(_native.Link(credential)).status == status
    for record, status in vector["approval_verdicts"].items():
        assert standing.approval_verdict(_native.Link(record)).status == status
