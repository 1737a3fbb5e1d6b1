"""The vectors of files with records: what they say is what this code does."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from tests.unit.export_files import blocks_of, pages_of
from tests.unit.file_vectors import FILE, make

from covm.federation.wire.fork_proof import read_proof
from covm.federation.wire.malformed import Malformed

VECTORS: dict[str, Any] = json.loads(FILE.read_text())


def each_of(key: str) -> list[Any]:
    return [pytest.param(vector, base64.b64decode(vector["file"]), id=vector["name"]) for vector in VECTORS[key]]


def test_the_vectors_are_as_they_are_made() -> None:
    assert make() == VECTORS


@pytest.mark.parametrize(("vector", "data"), each_of("exports"))
def test_an_export_has_these_records(vector: dict[str, Any], data: bytes) -> None:
    pages = pages_of(data)
    found = [(record, body) for page in pages for record, body in zip(page.records, page.bodies, strict=True)]
    assert str(blocks_of(data)[0].id) == vector["root"]
    assert [str(record.id) for record, _ in found] == vector["records"]
    assert [str(record.id) for record, body in found if body is None] == vector["left_out"]


@pytest.mark.parametrize(("vector", "data"), each_of("refused_exports"))
def test_what_is_no_export_is_refused(vector: dict[str, Any], data: bytes) -> None:
    with pytest.raises(Malformed):
        pages_of(data)


@pytest.mark.parametrize(("vector", "data"), each_of("proofs"))
def test_a_proof_proves_this(vector: dict[str, Any], data: bytes) -> None:
    proof = read_proof(io.BytesIO(data).read)
    assert {str(each.id) for each in proof} == set(vector["records"])
    assert {(each.author, str(each.body.log), each.body.seq) for each in proof} == {
        (vector["author"], vector["log"], vector["seq"])
    }


@pytest.mark.parametrize(("vector", "data"), each_of("refused_proofs"))
def test_what_proves_nothing_is_refused(vector: dict[str, Any], data: bytes) -> None:
    with pytest.raises(Malformed):
        read_proof(io.BytesIO(data).read)
