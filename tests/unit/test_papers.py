"""Files that are carried from one machine to another: what is read from them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.membership_world import Coop, charter_of

from covm.federation.identity.charter import encode_charter, sign_charter
from covm.federation.membership.papers import (
    charter_paper,
    identity_paper,
    read_charter,
    read_identity,
    write_paper,
)

MILL, FARM = Coop("Mill"), Coop("Farm")
LONGER = MILL.add_node(MILL.inception, 1)


def test_an_identity_comes_back_as_it_was_written() -> None:
    data = write_paper(identity_paper([MILL.inception, LONGER], "Mill"))
    assert [each.id for each in read_identity(data)] == [MILL.inception.id, LONGER.id]
    assert json.loads(data)["name"] == "Mill", "people can look at it"


def test_a_charter_goes_round_and_gathers_signatures() -> None:
    charter = charter_of([MILL, FARM])
    paper = charter_paper(encode_charter(charter), "Three valleys", [[MILL.inception], [FARM.inception]])
    opened = read_charter(write_paper(paper))
    assert (opened.charter, opened.signed) == (charter, None)
    once = read_charter(write_paper(opened.with_signature(sign_charter(MILL.key(0), charter))))
    twice = read_charter(write_paper(once.with_signature(sign_charter(FARM.key(0), charter))))
    assert twice.signed is not None
    assert twice.signed.signers == {MILL.key(0).peer_id, FARM.key(0).peer_id}
    again = twice.with_signature(sign_charter(FARM.key(0), charter))
    assert len(again.signatures) == 2


def spoiled(**changes: Any) -> bytes:
    paper = json.loads(write_paper(identity_paper([MILL.inception, LONGER], "Mill")))
    return json.dumps(paper | changes).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"covm": "charter"}',
        spoiled(v=2),
        spoiled(entries=[]),
        spoiled(entries=["AAAA"]),
        spoiled(entries=json.loads(spoiled())["entries"][1:]),
        spoiled(entries=["not base64"]),
    ],
)
def test_what_is_no_identity_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"identity|inception|verify"):
        read_identity(data)


def test_signatures_of_another_charter_are_told() -> None:
    charter, other = charter_of([MILL, FARM]), charter_of([MILL, FARM], 2)
    paper = charter_paper(encode_charter(charter), "", [[MILL.inception], [FARM.inception]])
    mixed = read_charter(write_paper(paper)).with_signature(sign_charter(MILL.key(0), other))
    with pytest.raises(ValueError, match="of another charter"):
        read_charter(write_paper(mixed))
